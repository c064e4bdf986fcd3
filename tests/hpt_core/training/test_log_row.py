"""The log's row names every signal of the algorithm, whatever it is called."""

from collections import Counter

import pyarrow as pa
import pytest

from hpt_core import schemas
from hpt_core.training.collect import Collected
from hpt_core.training.log_row import describe, log_row
from hpt_core.training.updated import Updated
from hpt_core.upge.signal import Signal

SECONDS = {"rollout": 1.0, "verify": 0.5, "update": 2.0, "sync": 0.1}


def test_every_signal_has_its_part_of_the_surrogate() -> None:
    signals = {"clipped": Signal(on="rollouts"), "plain": Signal(on="rollouts"), "shown": Signal(on="demonstration")}
    metrics = [
        {"loss_clipped": 1.0, "loss_plain": 2.0, "loss_shown": 40.0},
        {"loss_clipped": 5.0, "loss_entropy": 80.0},
    ]
    updates = [Updated(loss=1.0, metrics=Counter(m)) for m in metrics]  # type: ignore[arg-type]
    row = log_row(3, signals, Collected((), 0.0, 0.0), updates, 1e-3, SECONDS, 4.0)
    assert row["surrogate"] == pytest.approx(1.0)
    assert {s["signal"]: s["surrogate"] for s in row["signals"]} == {"clipped": 3.0, "plain": 1.0, "shown": 20.0}
    later = {"mismatch_kl": 0.0, "device_seconds": 4.0, "validation_reward": 0.5, "validation_rewards": [0.0, 1.0]}
    assert set(row) | set(later) == set(schemas.TRAIN_LOG.names)
    pa.Table.from_pylist([row | later], schema=schemas.TRAIN_LOG)


def test_the_text_of_a_step_leaves_out_the_surrogates_value() -> None:
    """Only the surrogate's gradient is meaningful: a step of pure imitation shows its likelihood."""
    updates = [Updated(loss=-1.0, demonstration_nats=6.0, demonstration_tokens=4)]
    row = log_row(1, {"sft": Signal(on="demonstration")}, Collected((), 0.0, 0.0), updates, 1e-3, SECONDS, 4.0)
    assert describe(row | {"validation_reward": float("nan")}) == "demonstration NLL 1.5000"
