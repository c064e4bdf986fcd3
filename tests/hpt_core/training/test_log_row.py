"""The log's row goes by what signals are on, not by their names."""

from collections import Counter

import pyarrow as pa
import pytest

from hpt_core import schemas
from hpt_core.training.collect import Collected
from hpt_core.training.log_row import log_row
from hpt_core.training.updated import Updated
from hpt_core.upge.signal import Signal

SECONDS = {"rollout": 1.0, "verify": 0.5, "update": 2.0, "sync": 0.1}


def test_loss_on_rollouts_is_that_of_every_signal_on_rollouts() -> None:
    signals = {"clipped": Signal(on="rollouts"), "plain": Signal(on="rollouts"), "shown": Signal(on="demonstration")}
    metrics = [
        {"loss_clipped": 1.0, "loss_plain": 2.0, "loss_shown": 40.0},
        {"loss_clipped": 5.0, "loss_entropy": 80.0},
    ]
    updates = [Updated(loss=1.0, metrics=Counter(m)) for m in metrics]  # type: ignore[arg-type]
    row = log_row(3, signals, Collected((), 0.0, 0.0), updates, 1e-3, SECONDS, 4.0)
    assert row["loss_rl"] == pytest.approx((1.0 + 2.0 + 5.0) / 2)
    assert {s["signal"]: s["loss"] for s in row["signals"]} == {"clipped": 3.0, "plain": 1.0, "shown": 20.0}
    later = {"mismatch_kl": 0.0, "validation_reward": 0.5}
    assert set(row) | set(later) == set(schemas.TRAIN_LOG.names)
    pa.Table.from_pylist([row | later], schema=schemas.TRAIN_LOG)
