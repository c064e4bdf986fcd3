"""Updates: independence of the micro-batch split, minibatches, guards."""

import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
import torch

from hpt_core.errors import NonFiniteError, TrainingError, WeightSyncError
from hpt_core.training.batch import Tokens, collate
from hpt_core.training.config import TrainConfig
from hpt_core.training.model import export_model, load_model
from hpt_core.training.optimizer import make_optimizer
from hpt_core.training.policy import forward, make_policy, named_weights
from hpt_core.training.update import Updater
from hpt_core.training.updated import Updated
from hpt_core.upge.base import DEMONSTRATION, Group, Row
from hpt_core.upge.estimator import Estimator


def config(**changes: object) -> TrainConfig:
    fields = {"algorithm": "hpt", "steps": 1, "sampling": {"max_tokens": 16}}
    return TrainConfig.model_validate(fields | changes)


def updater(model_folder: Path, dumps: Path, **changes: object) -> Updater:
    settings = config(**changes)
    estimator = Estimator(settings.algorithm, 16, settings.importance_cap)
    policy = make_policy(load_model(model_folder), settings.dtype, estimator.uses_values)
    return Updater(policy, make_optimizer(policy, settings.optimizer), estimator, settings, dumps)


def step_rows(estimator: Estimator) -> tuple[list[Row], list[Tokens]]:
    """Two questions with mixed rewards and two that fail, with responses of many lengths."""
    generator = torch.Generator().manual_seed(3)
    rows, tokens = [], []
    for q, rewards in enumerate([(1.0, 0.0, 0.0), (0.0, 0.0, 0.0), (1.0, 1.0, 0.0), (0.0, 0.0, 0.0)]):
        lengths = tuple(int(torch.randint(1, 16, (), generator=generator)) for _ in rewards)
        prompt = (1, *torch.randint(3, 200, (3 + q,), generator=generator).tolist())
        for row in estimator.rows(Group(f"q{q}", rewards, lengths, 7)):
            response = torch.randint(3, 200, (row.length,), generator=generator).tolist()
            rows.append(row)
            tokens.append(Tokens(prompt, tuple(response), 1.0 if row.index == DEMONSTRATION else 0.8))
    return rows, tokens


REGULARIZED = {"name": "hpt", "regularizers": ["entropy"]}


@pytest.mark.parametrize(
    "algorithm", ["hpt", *(pytest.param(each, marks=pytest.mark.slow) for each in (REGULARIZED, "grpo", "sft"))]
)
def test_gradient_does_not_depend_on_the_split(tiny_model: Path, tmp_path: Path, algorithm: object) -> None:
    found = []
    for budget in (1, 40, 100_000):
        one = updater(tiny_model, tmp_path, algorithm=algorithm, micro_batch_tokens=budget)
        rows, tokens = step_rows(one.estimator)
        done = one.gradient(one.estimator.update(rows), tokens)
        found.append((done, [p.grad for p in one.policy.parameters()]))
    whole, gradients = found[-1]
    assert max(g.abs().max() for g in gradients) > 0
    for part, others in found[:-1]:
        assert part.loss == pytest.approx(whole.loss, rel=1e-4, abs=1e-7)
        assert part.tokens == whole.tokens
        for ours, expected in zip(others, gradients, strict=True):
            torch.testing.assert_close(ours, expected, rtol=1e-3, atol=1e-6)


def test_minibatches_use_logprobs_from_before_the_first_update(tiny_model: Path, tmp_path: Path) -> None:
    changes: dict[str, object] = {"minibatch_rows": 3, "optimizer": {"learning_rate": 0.05}}
    one = updater(tiny_model, tmp_path, **changes)
    rows, tokens = step_rows(one.estimator)
    done = one.run(rows, tokens, rate=0.05, step=1)
    assert len(done) == 3
    assert [u.metrics["tokens"] for u in done] == [sum(r.length for r in rows[i : i + 3]) for i in (0, 3, 6)]
    # After a large first update the ratio to the logprobs before it leaves the clip range.
    assert sum(u.metrics["clipped_rl"] for u in done[1:]) > 0
    assert done[0].metrics["clipped_rl"] == 0


def test_demonstrations_are_counted_in_nats(tiny_model: Path, tmp_path: Path) -> None:
    one = updater(tiny_model, tmp_path, algorithm="sft")
    rows, tokens = step_rows(one.estimator)
    done = one.gradient(one.estimator.update(rows), tokens)
    assert done.demonstration_tokens == 4 * 7
    nats = torch.tensor(done.demonstration_nats / 28)
    ids = torch.tensor([[*tokens[0].prompt_ids, *tokens[0].response_ids]])
    labels = ids.masked_fill(torch.arange(ids.shape[1]) < len(tokens[0].prompt_ids), -100)
    first = one.policy.model(ids, labels=labels).loss.item()
    assert nats == pytest.approx(first, rel=0.5)
    alone = one.gradient(one.estimator.update(rows[:1]), tokens[:1])
    assert alone.demonstration_nats / 7 == pytest.approx(first, rel=1e-5)


def test_spike_is_skipped_and_counted(tiny_model: Path, tmp_path: Path) -> None:
    one = updater(tiny_model, tmp_path, optimizer={"spike_limit": 1e-6})
    before = {name: tensor.clone() for name, tensor in one.policy.state_dict().items()}
    done = one.run(*step_rows(one.estimator), rate=0.1, step=1)
    assert [u.skipped for u in done] == [True]
    assert all(torch.equal(tensor, before[name]) for name, tensor in one.policy.state_dict().items())


def test_non_finite_loss_raises_with_the_batch_on_disk(tiny_model: Path, tmp_path: Path) -> None:
    one = updater(tiny_model, tmp_path / "dumps")
    with torch.no_grad():
        one.policy.model.get_input_embeddings().weight[1, 0] = torch.nan
    before = {name: tensor.clone() for name, tensor in one.policy.state_dict().items()}
    rows, tokens = step_rows(one.estimator)
    with pytest.raises(NonFiniteError, match=r"step 12: .*step-00012.parquet.*Remedy: lower optimizer.learning_rate"):
        one.run(rows, tokens, rate=0.1, step=12)
    dumped = pq.read_table(tmp_path / "dumps" / "step-00012.parquet").to_pylist()
    assert [row["question_id"] for row in dumped] == [row.question_id for row in rows]
    assert dumped[0]["response_ids"] == list(tokens[0].response_ids)
    for name, tensor in one.policy.state_dict().items():
        assert torch.equal(tensor.nan_to_num(), before[name].nan_to_num())


class Overflowing(Updater):
    """An updater whose loss overflows where its gradient does not."""

    def gradient(self, *args: Any, **kwargs: Any) -> Updated:
        done = super().gradient(*args, **kwargs)
        done.loss = float("inf")
        return done


def test_a_non_finite_loss_keeps_the_weights_even_if_the_gradient_is_finite(tiny_model: Path, tmp_path: Path) -> None:
    plain = updater(tiny_model, tmp_path)
    one = Overflowing(plain.policy, plain.optimizer, plain.estimator, plain.config, tmp_path)
    before = {name: tensor.clone() for name, tensor in one.policy.state_dict().items()}
    with pytest.raises(NonFiniteError, match=r"the loss is inf"):
        one.run(*step_rows(one.estimator), rate=0.1, step=1)
    assert all(torch.equal(tensor, before[name]) for name, tensor in one.policy.state_dict().items())
    assert not one.optimizer.state


class Exhausted(Updater):
    """An updater on a device without memory."""

    def gradient(self, *args: Any, **kwargs: Any) -> Updated:
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.")


def test_out_of_memory_names_the_setting_to_lower(tiny_model: Path, tmp_path: Path) -> None:
    plain = updater(tiny_model, tmp_path, micro_batch_tokens=777)
    one = Exhausted(plain.policy, plain.optimizer, plain.estimator, plain.config, tmp_path)
    with pytest.raises(TrainingError, match=r"step 5: out of memory") as caught:
        one.run(*step_rows(one.estimator), rate=0.1, step=5)
    assert "lower micro_batch_tokens (now 777), or set gradient_checkpointing = true" in caught.value.remedy


@pytest.mark.parametrize(("cap", "factor"), [(None, 1.0), (1.5, 1.5), (4.0, 2.0)])
def test_tokens_of_rollouts_count_by_the_truncated_importance_weight(
    tiny_model: Path, tmp_path: Path, cap: float | None, factor: float
) -> None:
    """The engine gave every token half the trainer's probability: a weight of 2, cut at the cap."""
    found = []
    for settings in ({}, {"importance_cap": cap}):
        one = updater(tiny_model, tmp_path, algorithm="hpt", **settings)
        rows, tokens = step_rows(one.estimator)
        batch = [row for row in rows if row.index != DEMONSTRATION]
        mine = [t for t, row in zip(tokens, rows, strict=True) if row.index != DEMONSTRATION]
        with torch.no_grad():
            statistics = forward(one.policy, collate(mine)).logprobs.split([len(t.response_ids) for t in mine])
        drawn = [
            replace(t, rollout_logprobs=tuple((s - math.log(2)).tolist()))
            for t, s in zip(mine, statistics, strict=True)
        ]
        one.gradient(one.estimator.update(batch), drawn)
        found.append([p.grad for p in one.policy.parameters()])
    assert max(g.abs().max() for g in found[0]) > 0
    for plain, weighted in zip(*found, strict=True):
        torch.testing.assert_close(weighted, factor * plain, rtol=1e-3, atol=1e-6)


def test_value_head_learns_and_is_not_exported(tiny_model: Path, tmp_path: Path) -> None:
    one = updater(tiny_model, tmp_path, algorithm="ppo", minibatch_rows=3)
    rows, tokens = step_rows(one.estimator)
    head = one.policy.value_head
    assert not head.weight.any()
    done = one.run(rows, tokens, rate=0.05, step=1)
    assert head.weight.any()
    assert done[0].metrics["loss_value_loss"] > 0
    assert not any("value_head" in name for name, _ in named_weights(one.policy))
    export_model(one.policy, tiny_model, tmp_path / "model", "float32")
    assert load_model(tmp_path / "model").state_dict().keys() == load_model(tiny_model).state_dict().keys()


def drawn_by(one: Updater, tokens: list[Tokens], rows: list[Row], error: float) -> list[Tokens]:
    """`tokens` as an engine drew them whose log-probabilities are off by `error`."""
    with torch.no_grad():
        lengths = [len(t.response_ids) for t in tokens]
        own = forward(one.policy, collate(tokens)).logprobs.split(lengths)
    return [
        t if row.index == DEMONSTRATION else replace(t, rollout_logprobs=tuple((s + error).tolist()))
        for t, row, s in zip(tokens, rows, own, strict=True)
    ]


@pytest.mark.parametrize("minibatch_rows", [None, 3])
def test_a_disagreeing_engine_stops_the_run_before_a_weight_changes(
    tiny_model: Path, tmp_path: Path, minibatch_rows: int | None
) -> None:
    one = updater(tiny_model, tmp_path, minibatch_rows=minibatch_rows)
    before = {name: tensor.clone() for name, tensor in one.policy.state_dict().items()}
    rows, tokens = step_rows(one.estimator)
    with pytest.raises(WeightSyncError, match=r"step 4: the engine's logprobs differ .* by 0\.05"):
        one.run(rows, drawn_by(one, tokens, rows, 0.05), rate=0.1, step=4)
    assert all(torch.equal(tensor, before[name]) for name, tensor in one.policy.state_dict().items())
    one.run(rows, drawn_by(one, tokens, rows, 1e-5), rate=0.1, step=4)
    assert one.agreement is not None
    assert one.agreement.mean == pytest.approx(1e-5, rel=0.2)


def test_a_step_with_only_demonstrations_compares_its_probes(tiny_model: Path, tmp_path: Path) -> None:
    one = updater(tiny_model, tmp_path)
    rows, tokens = step_rows(one.estimator)
    demonstrations = [i for i, row in enumerate(rows) if row.index == DEMONSTRATION]
    probes = [t for t in drawn_by(one, tokens, rows, 0.05) if t.rollout_logprobs]
    chosen = [rows[i] for i in demonstrations], [tokens[i] for i in demonstrations]
    one.run(*chosen, rate=0.0, step=1)
    assert one.agreement is None
    with pytest.raises(WeightSyncError):
        one.run(*chosen, rate=0.1, step=1, probes=probes)
    with pytest.raises(WeightSyncError):
        one.run([], [], rate=0.1, step=1, probes=probes)
