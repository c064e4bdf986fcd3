"""The parts one by one: discovery, round trips, and the values each computes."""

import math
import statistics
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import TypeAdapter

from hpt_core.plugins import PluginConfig
from hpt_core.upge.advantage import gae, group_mean, group_zscore, inverse_entropy, one, signed, signed_entropy
from hpt_core.upge.base import Group, TokenBatch
from hpt_core.upge.likelihood_gradient import plain, shaped
from hpt_core.upge.parts import (
    Advantage,
    Aggregation,
    BatchRows,
    LikelihoodGradient,
    ReferencePolicy,
    Regularizer,
    SignalRows,
    SignalTokens,
    StabilizationMask,
)
from hpt_core.upge.reference_policy import current, old, sequence
from hpt_core.upge.reference_policy import one as constant_one
from hpt_core.upge.regularizers import entropy, value_loss
from hpt_core.upge.stabilization_mask import clip, clipped_ratio, none, sequence_clip

PARTS = (StabilizationMask, ReferencePolicy, Advantage, LikelihoodGradient, Aggregation, Regularizer)
VARIANTS = [(part, name) for part in PARTS for name in part.plugin_kind.names]


def signal_tokens(
    logprobs: list[float], old_logprobs: list[float], advantages: list[float], lengths: list[int] | None = None
) -> SignalTokens:
    """Rows of `lengths`; one row a token where not given."""
    n = len(logprobs)
    rows = torch.tensor([1] * n if lengths is None else lengths, dtype=torch.int64)
    return SignalTokens(
        logprobs=torch.tensor(logprobs, dtype=torch.float64, requires_grad=True),
        old_logprobs=torch.tensor(old_logprobs, dtype=torch.float64),
        entropies=torch.ones(n, dtype=torch.float64),
        row_ids=torch.repeat_interleave(rows),
        lengths=rows,
        advantages=torch.tensor(advantages, dtype=torch.float64),
    )


@pytest.mark.parametrize(("base", "name"), VARIANTS)
def test_every_variant_round_trips(base: type[PluginConfig], name: str) -> None:
    adapter = TypeAdapter(base)
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
    assert clip.Clip().factors(tokens).tolist() == [kept]
    assert none.NoMask().factors(tokens).tolist() == [1]


def test_clip_bounds_are_independent() -> None:
    tokens = signal_tokens([math.log(1.25), math.log(0.75)], [0.0, 0.0], [1.0, -1.0])
    assert clip.Clip(eps_low=0.3, eps_high=0.28).factors(tokens).tolist() == [1, 1]
    assert clip.Clip(eps_low=0.3).factors(tokens).tolist() == [0, 1]


@pytest.mark.parametrize(("ratio", "weight"), [(0.1, 0.1), (1.0, 1.0), (1.19, 1.19), (1.3, 1.2), (9.0, 1.2)])
@pytest.mark.parametrize("advantage", [1.0, 0.0, -1.0])
def test_clipped_ratio_bounds_the_weight_from_above_for_both_signs(
    ratio: float, weight: float, advantage: float
) -> None:
    tokens = signal_tokens([math.log(ratio) - 1], [-1.0], [advantage])
    assert clipped_ratio.ClippedRatio().factors(tokens).item() * ratio == pytest.approx(weight)


def test_clipped_ratio_is_exactly_one_within_its_bounds_and_may_bound_from_below() -> None:
    tokens = signal_tokens([-0.1, 0.1, -5.0], [0.0, 0.0, -1.0], [1.0] * 3)
    assert clipped_ratio.ClippedRatio().factors(tokens).tolist() == [1, 1, 1]
    bounded = clipped_ratio.ClippedRatio(eps_low=0.5).factors(tokens)
    assert bounded.tolist() == [1, 1, pytest.approx(0.5 * math.exp(4))]


@pytest.mark.parametrize(
    ("mean_log_ratio", "advantage", "kept"),
    [(3.9e-4, 1, 1), (4.1e-4, 1, 0), (4.1e-4, -1, 1), (-2.9e-4, -1, 1), (-3.1e-4, -1, 0), (-3.1e-4, 1, 1), (1.0, 0, 1)],
)
def test_sequence_clip_stops_whole_sequences(mean_log_ratio: float, advantage: float, kept: int) -> None:
    # The tokens' own ratios are far from 1; their mean counts. The second row is never stopped.
    logs = [0.5 + mean_log_ratio, -0.5 + mean_log_ratio, 0.0]
    tokens = signal_tokens(logs, [0.0] * 3, [advantage] * 3, lengths=[2, 1])
    assert sequence_clip.SequenceClip().factors(tokens).tolist() == [kept, kept, 1]


def test_sequence_reference_makes_every_ratio_of_a_sequence_its_geometric_mean() -> None:
    tokens = signal_tokens([-1.0, -2.0, -3.0], [-1.5, -1.0, -1.0], [1.0] * 3, lengths=[2, 1])
    log_ratios = tokens.logprobs - sequence.SequenceRatio().ref_logprobs(tokens)
    assert log_ratios.tolist() == pytest.approx([-0.25, -0.25, -2.0])
    assert not sequence.SequenceRatio().ref_logprobs(tokens).requires_grad


def test_reference_policies() -> None:
    tokens = signal_tokens([-1.0, -2.0], [-3.0, -4.0], [1.0, 1.0])
    assert current.CurrentPolicy().ref_logprobs(tokens).tolist() == [-1.0, -2.0]
    assert old.OldPolicy().ref_logprobs(tokens).tolist() == [-3.0, -4.0]
    assert constant_one.NoDenominator().ref_logprobs(tokens).tolist() == [0.0, 0.0]
    assert not current.CurrentPolicy().ref_logprobs(tokens).requires_grad


@pytest.mark.parametrize("probability", [1e-30, 0.01, 0.1, 0.5, 1.0])
@pytest.mark.parametrize("gamma", [0.1, 0.5])
def test_shaped_likelihood_and_its_derivative(probability: float, gamma: float) -> None:
    p = torch.tensor([probability], dtype=torch.float64, requires_grad=True)
    tokens = signal_tokens([0.0], [0.0], [1.0])._replace(logprobs=p.log())
    value = shaped.ShapedLikelihood(gamma=gamma).log_likelihoods(tokens).exp()
    value.sum().backward()
    assert value.item() == pytest.approx(probability / (probability + gamma))
    assert p.grad is not None
    assert p.grad.item() == pytest.approx(gamma / (probability + gamma) ** 2)
    assert plain.PlainLikelihood().log_likelihoods(tokens) is tokens.logprobs


def group(rewards: list[float]) -> Group:
    return Group("q", tuple(rewards), (1,) * len(rewards), 3)


def test_advantages_of_a_mixed_group() -> None:
    mixed = group([1.0, 0.0, 0.0, 0.0])
    assert group_mean.GroupMean().estimate(mixed) == ((0.75, -0.25, -0.25, -0.25), 1.0)
    assert group_zscore.GroupZscore().estimate(mixed).rollouts == pytest.approx((1.5, -0.5, -0.5, -0.5), rel=1e-5)
    assert one.ConstantOne().estimate(mixed) == ((1.0,) * 4, 1.0)
    assert signed.SignedReward().estimate(mixed) == ((1.0, -1.0, -1.0, -1.0), 1.0)


def test_entropy_weights() -> None:
    tokens = signal_tokens([-1.0] * 4, [-1.0] * 4, [1.0, 1.0, 0.0, 0.5], lengths=[2, 1, 1])
    entropies = torch.tensor([0.5, 1.5, 2.0, 2.0], dtype=torch.float64, requires_grad=True)
    tokens = tokens._replace(entropies=entropies)
    signed_weights = signed_entropy.SignedEntropy().per_token(tokens)
    assert signed_weights.tolist() == pytest.approx([0.1 * math.e, 0.1 * math.e, -1.0, -1.0])
    weights = inverse_entropy.InverseEntropy().per_token(tokens)
    assert weights.tolist() == pytest.approx([0.5 / math.e, 0.5 / math.e, 0.5 / math.e**2, 0.5 / math.e**2])
    assert not signed_weights.requires_grad and not weights.requires_grad
    mixed = group([1.0, 0.0])
    assert signed_entropy.SignedEntropy().estimate(mixed) == ((1.0, 0.0), 1.0)
    assert inverse_entropy.InverseEntropy().estimate(mixed) == ((1.0, 1.0), 1.0)


def advantages_by_recursion(values: list[float], reward: float, gamma: float, lam: float) -> list[float]:
    """From the last token back."""
    found = [0.0] * (len(values) + 1)
    for t in reversed(range(len(values))):
        last = t == len(values) - 1
        delta = (reward if last else gamma * values[t + 1]) - values[t]
        found[t] = delta + gamma * lam * found[t + 1]
    return found[:-1]


@given(
    lengths=st.lists(st.integers(1, 40), min_size=1, max_size=5),
    gamma=st.sampled_from([0.0, 0.9, 1.0]),
    lam=st.sampled_from([0.0, 0.5, 0.95, 1.0]),
    seed=st.integers(0, 2**16),
)
@settings(deadline=None)
def test_gae_equals_its_recursion(lengths: list[int], gamma: float, lam: float, seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    values = torch.randn(sum(lengths), generator=generator, dtype=torch.float64)
    rewards = torch.randn(len(lengths), generator=generator, dtype=torch.float64)
    rows = torch.tensor(lengths)
    tokens = signal_tokens([0.0] * len(values), [0.0] * len(values), [0.0] * len(values), lengths)
    tokens = tokens._replace(advantages=rewards[torch.repeat_interleave(rows)], old_values=values)
    expected = []
    for mine, reward in zip(values.split(lengths), rewards.tolist(), strict=True):
        expected += advantages_by_recursion(mine.tolist(), reward, gamma, lam)
    torch.testing.assert_close(
        gae.GAE(gamma=gamma, lam=lam).per_token(tokens), torch.tensor(expected, dtype=torch.float64)
    )


def test_gae_with_lambda_one_is_reward_minus_value() -> None:
    tokens = signal_tokens([0.0] * 3, [0.0] * 3, [1.0] * 3, lengths=[3])
    tokens = tokens._replace(old_values=torch.tensor([0.25, 0.5, 2.0], dtype=torch.float64))
    assert gae.GAE(lam=1.0).per_token(tokens).tolist() == [0.75, 0.5, -1.0]


def test_gae_takes_values_of_another_precision_and_no_tokens() -> None:
    tokens = signal_tokens([0.0] * 3, [0.0] * 3, [1.0] * 3, lengths=[3])
    halves = tokens._replace(old_values=torch.zeros(3, dtype=torch.bfloat16))
    assert gae.GAE().per_token(halves).dtype == torch.float64
    nothing = signal_tokens([], [], [], lengths=[])._replace(old_values=torch.zeros(0, dtype=torch.float64))
    assert gae.GAE().per_token(nothing).shape == (0,)


def test_value_loss_is_half_the_mean_squared_error_of_the_returns() -> None:
    zeros = torch.zeros(3, dtype=torch.float64)
    values = torch.tensor([0.5, 0.0, 1.0], dtype=torch.float64, requires_grad=True)
    old_values = torch.tensor([0.1, 0.2, 0.9], dtype=torch.float64)
    tokens = TokenBatch(zeros, torch.tensor([0, 0, 1]), zeros, zeros, values, old_values)
    # lambda = 1 makes every return the row's reward.
    rows = batch_rows([2, 1], 10, rewards=[1.0, 0.0])
    share = value_loss.ValueLoss(lam=1.0).share(tokens, rows)
    share.backward()
    assert share.item() == pytest.approx((0.5**2 + 1 + 1) / 20)
    assert values.grad is not None
    assert values.grad.tolist() == pytest.approx([-0.05, -0.1, 0.1])
    # Clipped to within 0.2 of the old values, the first value is 0.3 and its error the larger one.
    clipped = value_loss.ValueLoss(lam=1.0, clip=0.2).share(tokens, rows)
    assert clipped.item() == pytest.approx((0.7**2 + 1 + 1) / 20)


def test_zscore_divides_by_sample_deviation_plus_epsilon() -> None:
    rewards = [1.0, 0.0, 1.0, 0.5]
    expected = [(r - 0.625) / (statistics.stdev(rewards) + 1e-6) for r in rewards]
    assert group_zscore.GroupZscore().estimate(group(rewards)).rollouts == pytest.approx(expected, rel=1e-14)


def test_a_single_member_has_no_zscore() -> None:
    assert group_zscore.GroupZscore().estimate(group([1.0])) == ((1.0,), 1.0)
    assert group_zscore.GroupZscore().estimate(group([0.0])) == ((0.0,), 1.0)
    assert group_zscore.GroupZscore(with_demonstration=True).estimate(group([])) == ((), 1.0)


def test_the_demonstration_can_be_a_member_of_the_group() -> None:
    seven = group([0.0] * 7)
    assert group_mean.GroupMean(with_demonstration=True).estimate(seven) == ((-0.125,) * 7, 0.875)
    alone = Group("q", (1.0, 0.0), (1, 1), None)
    assert group_mean.GroupMean(with_demonstration=True).estimate(alone).rollouts == (0.5, -0.5)


@given(reward=st.floats(-3, 3), n=st.integers(2, 40))
@settings(deadline=None)
def test_equal_rewards_give_exactly_zero(reward: float, n: int) -> None:
    for part in (group_mean.GroupMean(), group_zscore.GroupZscore()):
        assert part.estimate(group([reward] * n)).rollouts == (0.0,) * n


ROWS = SignalRows(question_ids=("a", "a", "b"), lengths=(2, 4, 10), questions=5, max_length=100, update_tokens=40)


@pytest.mark.parametrize(
    ("part", "expected"),
    [
        ("fixed_length", [1 / 500] * 3),
        ("constant_length", [1 / 100] * 3),
        ({"name": "constant_length", "gpus": 8}, [1 / 800] * 3),
        ("token_mean", [1 / 16] * 3),
        # 40 tokens fit one micro-batch on each of 8 GPUs; three rows fall into 8 (1 - (7/8)^3) of them.
        ("micro_batch_mean", [8 * (1 - (7 / 8) ** 3) / (8 * 16)] * 3),
        # 40 tokens need 4 micro-batches of 10.
        (
            {"name": "micro_batch_mean", "micro_batches": {"gpus": 2, "token_budget": 10}},
            [4 * (1 - (3 / 4) ** 3) / (2 * 16)] * 3,
        ),
        ({"name": "micro_batch_mean", "micro_batches": {"gpus": 1, "count": 1}}, [1 / 16] * 3),
        ("sequence_mean", [1 / 6, 1 / 12, 1 / 30]),
        ("question_mean", [1 / 10, 1 / 10, 1 / 5]),
        ("demonstration_mean", [1 / 10, 1 / 20, 1 / 50]),
    ],
)
def test_aggregation_weights(part: Any, expected: list[float]) -> None:
    assert Aggregation.from_value(part).weights(ROWS) == pytest.approx(expected)


@pytest.mark.parametrize("name", Aggregation.plugin_kind.names)
def test_every_aggregation_takes_an_update_without_rows_of_its_signal(name: str) -> None:
    assert Aggregation.from_value(name).weights(SignalRows((), (), 0, 8, 0)) == ()


def batch_rows(lengths: list[int], update_tokens: int, rewards: list[float] | None = None) -> BatchRows:
    """Rollouts only."""
    return BatchRows(
        rewards=torch.tensor(rewards or [0.0] * len(lengths), dtype=torch.float64),
        lengths=torch.tensor(lengths),
        are_rollouts=torch.ones(len(lengths), dtype=torch.bool),
        update_tokens=update_tokens,
        update_rollout_tokens=update_tokens,
    )


def test_entropy_term_is_a_mean_over_the_whole_update() -> None:
    entropies = torch.tensor([0.5, 1.5], requires_grad=True)
    zeros = torch.zeros(2)
    share = entropy.EntropyBonus().share(TokenBatch(zeros, torch.tensor([0, 0]), zeros, entropies), batch_rows([2], 8))
    share.backward()
    assert share.item() == -0.25
    assert entropies.grad is not None
    assert entropies.grad.tolist() == [-0.125, -0.125]
