"""The parts one by one: discovery, round trips, and the values each computes."""

import math
import statistics

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter

from hpt_core.plugins import config_union, names
from hpt_core.upge.advantage import group_mean, group_zscore, one, signed
from hpt_core.upge.aggregation import (
    constant_length,
    demonstration_mean,
    fixed_length,
    question_mean,
    sequence_mean,
    token_mean,
)
from hpt_core.upge.base import Group, TokenBatch
from hpt_core.upge.likelihood_gradient import plain, shaped
from hpt_core.upge.parts import SignalRows, SignalTokens
from hpt_core.upge.reference_policy import current, old
from hpt_core.upge.reference_policy import one as constant_one
from hpt_core.upge.regularisers import entropy
from hpt_core.upge.stabilization_mask import clip, none

FOLDERS = ("stabilization_mask", "reference_policy", "advantage", "likelihood_gradient", "aggregation", "regularisers")
VARIANTS = [(folder, name) for folder in FOLDERS for name in names(f"hpt_core.upge.{folder}")]


def signal_tokens(logprobs: list[float], old_logprobs: list[float], advantages: list[float]) -> SignalTokens:
    """One row a token."""
    n = len(logprobs)
    return SignalTokens(
        logprobs=torch.tensor(logprobs, dtype=torch.float64, requires_grad=True),
        old_logprobs=torch.tensor(old_logprobs, dtype=torch.float64),
        entropies=torch.ones(n, dtype=torch.float64),
        row_ids=torch.arange(n),
        lengths=torch.ones(n, dtype=torch.int64),
        advantages=torch.tensor(advantages, dtype=torch.float64),
    )


@pytest.mark.parametrize(("folder", "name"), VARIANTS)
def test_every_variant_round_trips(folder: str, name: str) -> None:
    adapter = TypeAdapter(config_union(f"hpt_core.upge.{folder}"))
    part = adapter.validate_python(name)
    assert part.name == name
    assert adapter.validate_python({"name": name}) == part
    assert adapter.validate_json(adapter.dump_json(part)) == part


@pytest.mark.parametrize(
    ("ratio", "advantage", "kept"),
    [
        (1.19, 1.0, 1),
        (1.21, 1.0, 0),
        (1.29, 1.0, 0),
        (0.5, 1.0, 1),
        (0.81, -1.0, 1),
        (0.79, -1.0, 0),
        (5.0, -1.0, 1),
        (5.0, 0.0, 1),
        (0.1, 0.0, 1),
    ],
)
def test_clip_truth_table(ratio: float, advantage: float, kept: int) -> None:
    tokens = signal_tokens([math.log(ratio) - 1], [-1.0], [advantage])
    assert clip.Config().factors(tokens).tolist() == [kept]
    assert none.Config().factors(tokens).tolist() == [1]


def test_clip_bounds_are_independent() -> None:
    tokens = signal_tokens([math.log(1.25), math.log(0.75)], [0.0, 0.0], [1.0, -1.0])
    assert clip.Config(eps_low=0.3, eps_high=0.28).factors(tokens).tolist() == [1, 1]
    assert clip.Config(eps_low=0.3).factors(tokens).tolist() == [0, 1]


def test_reference_policies() -> None:
    tokens = signal_tokens([-1.0, -2.0], [-3.0, -4.0], [1.0, 1.0])
    assert current.Config().ref_logprobs(tokens).tolist() == [-1.0, -2.0]
    assert old.Config().ref_logprobs(tokens).tolist() == [-3.0, -4.0]
    assert constant_one.Config().ref_logprobs(tokens).tolist() == [0.0, 0.0]
    assert not current.Config().ref_logprobs(tokens).requires_grad


@pytest.mark.parametrize("probability", [1e-30, 0.01, 0.1, 0.5, 1.0])
@pytest.mark.parametrize("gamma", [0.1, 0.5])
def test_shaped_likelihood_and_its_derivative(probability: float, gamma: float) -> None:
    p = torch.tensor([probability], dtype=torch.float64, requires_grad=True)
    tokens = signal_tokens([0.0], [0.0], [1.0])._replace(logprobs=p.log())
    value = shaped.Config(gamma=gamma).log_likelihoods(tokens).exp()
    value.sum().backward()
    assert value.item() == pytest.approx(probability / (probability + gamma))
    assert p.grad is not None
    assert p.grad.item() == pytest.approx(gamma / (probability + gamma) ** 2)
    assert plain.Config().log_likelihoods(tokens) is tokens.logprobs


def group(rewards: list[float]) -> Group:
    return Group("q", tuple(rewards), (1,) * len(rewards), 3)


def test_advantages_of_a_mixed_group() -> None:
    mixed = group([1.0, 0.0, 0.0, 0.0])
    assert group_mean.Config().estimate(mixed) == ((0.75, -0.25, -0.25, -0.25), 1.0)
    assert group_zscore.Config().estimate(mixed).rollouts == pytest.approx((1.5, -0.5, -0.5, -0.5), rel=1e-5)
    assert one.Config().estimate(mixed) == ((1.0,) * 4, 1.0)
    assert signed.Config().estimate(mixed) == ((1.0, -1.0, -1.0, -1.0), 1.0)


def test_zscore_divides_by_sample_deviation_plus_epsilon() -> None:
    rewards = [1.0, 0.0, 1.0, 0.5]
    expected = [(r - 0.625) / (statistics.stdev(rewards) + 1e-6) for r in rewards]
    assert group_zscore.Config().estimate(group(rewards)).rollouts == pytest.approx(expected, rel=1e-14)


def test_a_lone_member_has_no_zscore() -> None:
    assert group_zscore.Config().estimate(group([1.0])) == ((1.0,), 1.0)
    assert group_zscore.Config().estimate(group([0.0])) == ((0.0,), 1.0)
    assert group_zscore.Config(with_demonstration=True).estimate(group([])) == ((), 1.0)


def test_the_demonstration_can_be_a_member_of_the_group() -> None:
    seven = group([0.0] * 7)
    assert group_mean.Config(with_demonstration=True).estimate(seven) == ((-0.125,) * 7, 0.875)
    alone = Group("q", (1.0, 0.0), (1, 1), None)
    assert group_mean.Config(with_demonstration=True).estimate(alone).rollouts == (0.5, -0.5)


@given(reward=st.floats(-3, 3), n=st.integers(2, 40))
def test_equal_rewards_give_exactly_zero(reward: float, n: int) -> None:
    for part in (group_mean.Config(), group_zscore.Config()):
        assert part.estimate(group([reward] * n)).rollouts == (0.0,) * n


ROWS = SignalRows(question_ids=("a", "a", "b"), lengths=(2, 4, 10), questions=5, max_length=100)


@pytest.mark.parametrize(
    ("part", "expected"),
    [
        (fixed_length, [1 / 500] * 3),
        (constant_length, [1 / 100] * 3),
        (token_mean, [1 / 16] * 3),
        (sequence_mean, [1 / 6, 1 / 12, 1 / 30]),
        (question_mean, [1 / 10, 1 / 10, 1 / 5]),
        (demonstration_mean, [1 / 10, 1 / 20, 1 / 50]),
    ],
)
def test_aggregation_weights(part: object, expected: list[float]) -> None:
    assert part.Config().weights(ROWS) == pytest.approx(expected)


@pytest.mark.parametrize("name", names("hpt_core.upge.aggregation"))
def test_every_aggregation_takes_an_update_without_rows_of_its_signal(name: str) -> None:
    part = TypeAdapter(config_union("hpt_core.upge.aggregation")).validate_python(name)
    assert part.weights(SignalRows((), (), 0, 8)) == ()


def test_entropy_term_is_a_mean_over_the_whole_update() -> None:
    entropies = torch.tensor([0.5, 1.5], requires_grad=True)
    zeros = torch.zeros(2)
    share = entropy.Config().share(TokenBatch(zeros, entropies, zeros, torch.tensor([0, 0])), update_tokens=8)
    share.backward()
    assert share.item() == -0.25
    assert entropies.grad is not None
    assert entropies.grad.tolist() == [-0.125, -0.125]
