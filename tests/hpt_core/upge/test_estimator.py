"""The estimator: rows of a group, whole-update counts, shares of micro-batches, and room for other parts."""

import itertools
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from hpt_core.algorithms import cispo, dr_grpo, grpo, gspo, hpt, luffy, ppo, reinforce, sft, srft
from hpt_core.errors import DataError, TrainingError
from hpt_core.gates import always, gate_off, soft, switch
from hpt_core.gates.base import Gate
from hpt_core.upge.algorithm import Algorithm
from hpt_core.upge.base import DEMONSTRATION, Group, Row, RowSignal, TokenBatch
from hpt_core.upge.estimator import Estimator, Update
from hpt_core.upge.signal import Signal

SOLVED = Group("solved", (1.0, 0.0), (3, 2), 4)
FAILED = Group("failed", (0.0, 0.0), (3, 2), 4)
PERFECT = Group("perfect", (1.0, 1.0), (5, 1), 4)


def batch(update: Update, rows: list[int], seed: int = 0) -> TokenBatch:
    """Random tokens for `rows`; a row's tokens depend on its index alone."""
    columns: list[list[Tensor]] = [[] for _ in range(6)]
    for i in rows:
        generator = torch.Generator().manual_seed(1000 * seed + i)
        for column in columns:
            column.append(-torch.rand(update.rows[i].length, generator=generator, dtype=torch.float64))
    logprobs, entropies, old, values, old_values, rollout_logprobs = (torch.cat(c) for c in columns)
    ids = torch.cat([torch.full((update.rows[i].length,), r) for r, i in enumerate(rows)])
    mine = (values.requires_grad_(), old_values, rollout_logprobs)
    return TokenBatch(logprobs.requires_grad_(), ids, old, (-entropies).requires_grad_(), *mine)


@pytest.mark.parametrize(
    ("config", "rollouts", "demonstrations", "old", "values"),
    [
        (sft.SFT(), False, True, False, False),
        (grpo.GRPO(), True, False, True, False),
        (dr_grpo.DrGRPO(), True, False, True, False),
        (hpt.HPT(), True, True, True, False),
        (hpt.HPT(gate=always.Always(signals=("sft",))), False, True, False, False),
        (hpt.HPT(gate=switch.Switch(above="sft")), True, True, False, False),
        (hpt.HPT(gate=gate_off.GateOff(gamma=-1, above="off")), True, True, False, False),
        (sft.SFT(sft={"stabilization_mask": "clip"}), False, True, True, False),
        (reinforce.REINFORCE(), True, False, False, False),
        (gspo.GSPO(), True, False, True, False),
        (cispo.CISPO(), True, False, True, False),
        (srft.SRFT(), True, True, False, False),
        (luffy.LUFFY(), True, True, True, False),
        (ppo.PPO(), True, False, True, True),
        (ppo.PPO(regularizers=()), True, False, True, True),
        (reinforce.REINFORCE(regularizers=("value_loss",)), True, False, False, True),
    ],
)
def test_an_algorithms_requirements_are_known(
    config: Any, rollouts: bool, demonstrations: bool, old: bool, values: bool
) -> None:
    estimator = Estimator(config, max_length=8)
    assert estimator.uses_rollouts is rollouts
    assert estimator.uses_demonstrations is demonstrations
    assert estimator.uses_old_logprobs is old
    assert estimator.uses_values is values
    assert Estimator(config, max_length=8, importance_cap=2.0).uses_old_logprobs


def test_rows_of_a_solved_and_of_a_failed_question() -> None:
    estimator = Estimator(hpt.HPT(sft_coefficient=0.3), max_length=8)
    assert estimator.rows(SOLVED) == [
        Row("solved", 0, 3, (RowSignal("rl", 1.0, 0.5),), reward=1.0),
        Row("solved", 1, 2, (RowSignal("rl", 1.0, -0.5),), reward=0.0),
    ]
    assert estimator.rows(FAILED) == [Row("failed", DEMONSTRATION, 4, (RowSignal("sft", 0.3, 1.0),), reward=1.0)]


def test_gate_sees_success_rates_exactly() -> None:
    for n in range(1, 33):
        for successes in range(n + 1):
            group = Group("q", (1.0,) * successes + (0.0,) * (n - successes), (1,) * n, 1)
            estimator = Estimator(hpt.HPT(gate=switch.Switch(gamma=successes / n)), max_length=8)
            assert [row.index for row in estimator.rows(group)] == [DEMONSTRATION]


def test_sft_needs_no_rollouts() -> None:
    rows = Estimator(sft.SFT(), max_length=8).rows(Group("q", (), (), 4))
    assert rows == [Row("q", DEMONSTRATION, 4, (RowSignal("sft", 1.0, 1.0),), reward=1.0)]


@pytest.mark.parametrize(
    ("config", "group", "message"),
    [
        (hpt.HPT(), Group("q7", (0.0,), (3,), None), "q7 is gated to 'sft' but has no demonstration"),
        (sft.SFT(), Group("q7", (), (), None), "q7 is gated to 'sft' but has no demonstration"),
        (hpt.HPT(), Group("q7", (), (), 4), "q7 has no rollouts"),
        (grpo.GRPO(), Group("q7", (), (), 4), "q7 is gated to 'rl' but has no rollouts"),
        (grpo.GRPO(), Group("q7", (1.0,), (3, 4), None), "1 rewards, 2 lengths"),
        (grpo.GRPO(), Group("q7", (float("nan"), 1.0), (3, 4), None), "q7: a reward is not finite"),
    ],
)
def test_groups_that_do_not_fit_are_named(config: Any, group: Group, message: str) -> None:
    with pytest.raises(DataError, match=message):
        Estimator(config, max_length=8).rows(group)


def test_a_solved_question_needs_no_demonstration() -> None:
    assert len(Estimator(hpt.HPT(), max_length=8).rows(Group("q", (1.0, 0.0), (3, 2), None))) == 2


def test_response_without_tokens_is_refused() -> None:
    estimator = Estimator(grpo.GRPO(), max_length=8)
    with pytest.raises(DataError, match="response 1 has no token"):
        estimator.update(estimator.rows(Group("q", (1.0, 0.0), (3, 0), None)))


def test_tokens_must_match_the_rows() -> None:
    estimator = Estimator(grpo.GRPO(), max_length=8)
    update = estimator.update(estimator.rows(SOLVED))
    with pytest.raises(TrainingError, match="got 5 tokens for rows with 3 tokens"):
        update.loss(batch(update, [0, 1]), [0])


def test_counts_of_the_whole_update() -> None:
    estimator = Estimator(hpt.HPT(), max_length=8)
    update = estimator.update([row for g in (SOLVED, FAILED, PERFECT) for row in estimator.rows(g)])
    assert (update.questions, update.tokens) == (3, 15)


def test_rows_without_advantage_count_but_need_no_forward_pass() -> None:
    estimator = Estimator(hpt.HPT(), max_length=8)
    rows = [row for g in (SOLVED, PERFECT, FAILED) for row in estimator.rows(g)]
    update = estimator.update(rows)
    assert update.active == (0, 1, 4)
    full = update.loss(batch(update, [0, 1, 2, 3, 4]), [0, 1, 2, 3, 4])
    active = update.loss(batch(update, [0, 1, 4]), [0, 1, 4])
    assert full.loss.item() == active.loss.item()
    lone = estimator.update([row for row in rows if row.question_id != "perfect"])
    assert lone.loss(batch(lone, [0, 1, 2]), [0, 1, 2]).loss.item() != pytest.approx(full.loss.item())


def test_regularizer_keeps_every_row_active() -> None:
    def active(coefficient: float) -> tuple[int, ...]:
        config = grpo.GRPO(regularizers=({"name": "entropy", "coefficient": coefficient},))
        estimator = Estimator(config, max_length=8)
        return estimator.update(estimator.rows(PERFECT)).active

    assert active(0.001) == (0, 1)
    assert active(0.0) == ()


def test_value_loss_keeps_every_rollout_active_and_spares_demonstrations() -> None:
    config = hpt.HPT(sft_coefficient=0, regularizers=("value_loss",))
    estimator = Estimator(config, max_length=8)
    update = estimator.update([row for g in (PERFECT, FAILED) for row in estimator.rows(g)])
    assert [row.index for row in update.rows] == [0, 1, DEMONSTRATION]
    assert update.active == (0, 1)
    assert (update.tokens, update.rollout_tokens) == (10, 6)


def test_advantages_per_token_keep_every_row_active() -> None:
    estimator = Estimator(ppo.PPO(regularizers=()), max_length=8)
    assert estimator.update(estimator.rows(FAILED)).active == (0, 1)


@pytest.mark.parametrize(
    ("config", "cap", "missing", "message"),
    [
        (ppo.PPO(), None, "values", "'ppo' needs values"),
        (ppo.PPO(), None, "old_values", "value head"),
        (grpo.GRPO(), 2.0, "rollout_logprobs", "needs rollout_logprobs"),
    ],
)
def test_missing_inputs_of_an_algorithm_are_errors(config: Any, cap: float | None, missing: str, message: str) -> None:
    estimator = Estimator(config, max_length=8, importance_cap=cap)
    update = estimator.update(estimator.rows(SOLVED))
    with pytest.raises(TrainingError, match=message):
        update.loss(batch(update, [0, 1])._replace(**{missing: None}), [0, 1])


def test_importance_is_truncated_and_does_not_apply_to_demonstrations() -> None:
    estimator = Estimator(hpt.HPT(rl={"stabilization_mask": "none"}), max_length=8, importance_cap=2.0)
    plain = Estimator(hpt.HPT(rl={"stabilization_mask": "none"}), max_length=8)
    rows = [*estimator.rows(SOLVED), *estimator.rows(FAILED)]
    weights = torch.tensor([0.5, 1.0, 1.9, 2.1, 9e9, 3.0, 3.0, 3.0, 3.0], dtype=torch.float64)
    gradients, metrics = [], []
    for update in (estimator.update(rows), plain.update(rows)):
        tokens = batch(update, [0, 1, 2])
        engine = tokens.old_logprobs - weights.log()
        out = update.loss(tokens._replace(rollout_logprobs=engine), [0, 1, 2])
        out.loss.backward()
        gradients.append(tokens.logprobs.grad)
        metrics.append(out.metrics)
    expected = torch.tensor([0.5, 1.0, 1.9, 2.0, 2.0, 1, 1, 1, 1], dtype=torch.float64)
    torch.testing.assert_close(gradients[0], gradients[1] * expected)
    assert metrics[0]["importance_rl"] == pytest.approx(expected[:5].sum().item())
    assert "importance_sft" not in metrics[0]
    assert "importance_rl" not in metrics[1]


def test_value_loss_does_not_depend_on_the_split_nor_on_demonstrations() -> None:
    estimator = Estimator(hpt.HPT(regularizers=({"name": "value_loss", "coefficient": 0.5},)), max_length=8)
    update = estimator.update([row for g in (SOLVED, FAILED, PERFECT) for row in estimator.rows(g)])
    tokens = batch(update, [0, 1, 2, 3, 4])
    whole = update.loss(tokens, [0, 1, 2, 3, 4])
    whole.loss.backward()
    for row in range(5):
        mine = batch(update, [row])
        update.loss(mine, [row]).loss.backward()
        torch.testing.assert_close(mine.values.grad, tokens.values.grad[tokens.row_ids == row])
        assert bool(mine.values.grad.any()) is (update.rows[row].index != DEMONSTRATION)
    assert whole.metrics["loss_value_loss"] > 0


def test_signal_with_coefficient_zero_is_inactive() -> None:
    estimator = Estimator(hpt.HPT(sft_coefficient=0), max_length=8)
    assert estimator.update(estimator.rows(FAILED)).active == ()


def test_empty_update_and_empty_micro_batch() -> None:
    estimator = Estimator(hpt.HPT(regularizers=("entropy",)), max_length=8)
    update = estimator.update([])
    assert (update.questions, update.tokens, update.active) == (0, 0, ())
    update = estimator.update(estimator.rows(SOLVED))
    nothing = torch.zeros(0, dtype=torch.float64, requires_grad=True)
    out = update.loss(TokenBatch(nothing, torch.zeros(0, dtype=torch.int64), nothing, nothing), [])
    out.loss.backward()
    assert out.loss.item() == 0


@given(order=st.permutations(range(5)), cuts=st.sets(st.integers(1, 4)), name=st.sampled_from(sorted(hpt.AGGREGATIONS)))
@settings(deadline=None)
def test_loss_and_metrics_add_up_over_micro_batches(order: list[int], cuts: set[int], name: Any) -> None:
    estimator = Estimator(hpt.HPT(normalization=name, regularizers=("entropy",)), max_length=8)
    update = estimator.update([row for g in (SOLVED, FAILED, PERFECT) for row in estimator.rows(g)])
    whole = update.loss(batch(update, [0, 1, 2, 3, 4]), [0, 1, 2, 3, 4])
    bounds = [0, *sorted(cuts), 5]
    shares = [update.loss(batch(update, order[a:b]), order[a:b]) for a, b in itertools.pairwise(bounds)]
    assert sum(s.loss.item() for s in shares) == pytest.approx(whole.loss.item(), rel=1e-12)
    for metric, value in whole.metrics.items():
        assert sum(s.metrics[metric] for s in shares) == pytest.approx(value, rel=1e-12)


def test_metrics() -> None:
    config = hpt.HPT(regularizers=("entropy",))
    estimator = Estimator(config, max_length=8)
    update = estimator.update([*estimator.rows(SOLVED), *estimator.rows(FAILED)])
    tokens = batch(update, [0, 1, 2])
    # Row 0 has A > 0, row 1 A < 0: one token of each leaves the clip range on the stopped side, one on the other.
    log_ratios = torch.tensor([1.0, -1.0, 0.0, -1.0, 1.0, 0, 0, 0, 0], dtype=torch.float64)
    out = update.loss(tokens._replace(old_logprobs=tokens.logprobs.detach() - log_ratios), [0, 1, 2])
    metrics = out.metrics
    assert (metrics["tokens"], metrics["tokens_rl"], metrics["tokens_sft"]) == (9, 5, 4)
    assert (metrics["clipped_rl"], metrics["clipped_sft"]) == (2, 0)
    assert metrics["entropy_sum"] == pytest.approx(tokens.entropies.sum().item())
    assert metrics["loss_entropy"] == pytest.approx(-0.001 * tokens.entropies.mean().item())
    losses = sum(metrics[f"loss_{name}"] for name in ("rl", "sft", "entropy"))
    assert losses == pytest.approx(out.loss.item())


def test_loss_is_pure() -> None:
    estimator = Estimator(hpt.HPT(), max_length=8)
    update = estimator.update([*estimator.rows(SOLVED), *estimator.rows(FAILED)])
    tokens = batch(update, [0, 1, 2])
    before = [t.detach().clone() for t in tokens]
    assert len(before) == 7
    first, second = (update.loss(tokens, [0, 1, 2]) for _ in range(2))
    assert first.loss.item() == second.loss.item()
    assert first.metrics == second.metrics
    assert all(torch.equal(a, b.detach()) for a, b in zip(before, tokens, strict=True))


# What follows composes parts in ways that no shipped algorithm does.


def compose(gate: Gate, **signals: Signal) -> Any:
    """An algorithm of arbitrary parts, past the config's discovery of shipped ones."""
    model = type("Composed", (Algorithm,), {"__annotations__": dict.fromkeys(signals, Any)})
    return model.model_construct(name="composed", gate=gate, regularizers=(), **signals)


def changed(signal: Signal, **fields: Any) -> Signal:
    return signal.model_copy(update=fields)


def test_soft_gate_puts_two_signals_in_one_update() -> None:
    base = hpt.HPT()
    estimator = Estimator(compose(soft.Soft(), rl=base.rl, sft=base.sft), max_length=8)
    rows = estimator.rows(Group("q", (1.0, 0.0, 0.0, 0.0), (1, 2, 3, 4), 5))
    assert [row.index for row in rows] == [0, 1, 2, 3, DEMONSTRATION]
    assert rows[0].signals == (RowSignal("rl", 0.25, 0.75),)
    assert rows[-1].signals == (RowSignal("sft", 0.75, 1.0),)
    assert [row.index for row in estimator.rows(PERFECT)] == [0, 1]


def test_one_row_may_carry_two_signals() -> None:
    imitation = sft.SFT().sft
    offline = changed(imitation, coefficient=0.5)
    gate = always.Always(signals=("sft", "offline"))
    estimator = Estimator(compose(gate, sft=imitation, offline=offline), max_length=8)
    rows = estimator.rows(FAILED)
    assert [[s.name for s in row.signals] for row in rows] == [["sft", "offline"]]
    update = estimator.update(rows)
    tokens = batch(update, [0])
    update.loss(tokens, [0]).loss.backward()
    assert tokens.logprobs.grad is not None
    assert tokens.logprobs.grad.tolist() == pytest.approx([-1.5 / 4] * 4)


def test_the_mask_uses_the_advantage_of_the_token_not_of_the_row() -> None:
    estimator = Estimator(ppo.PPO(regularizers=()), max_length=8)
    update = estimator.update(estimator.rows(Group("q", (1.0,), (2,), None)))
    tokens = batch(update, [0])
    # V falls from 3 to 0, then R = 1 comes: the first token's advantage is negative, the second's positive.
    old_values = torch.tensor([3.0, 0.0], dtype=torch.float64)
    clipped = []
    for ratio in (2.0, 0.5):
        old = tokens.logprobs.detach() - torch.tensor(ratio).log()
        grad = torch.autograd.grad(
            update.loss(tokens._replace(old_values=old_values, old_logprobs=old), [0]).loss, tokens.logprobs
        )[0]
        clipped.append((grad == 0).tolist())
    assert clipped == [[False, True], [True, False]]
