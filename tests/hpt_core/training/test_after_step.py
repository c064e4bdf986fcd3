"""A run that a custom spec drives step by step."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from hpt_core import train
from hpt_core.training.checkpoint import checkpoints
from hpt_core.training.config import TrainSpec
from hpt_core.worker import read_spec


class Stop(Exception):
    """Ends a run from outside."""


def test_after_step_gets_each_logged_step_and_its_error_ends_the_run(make_spec: Any, tmp_path: Path) -> None:
    seen: list[tuple[int, int, int]] = []

    class Driven(TrainSpec):
        def after_step(self, row: Mapping[str, Any]) -> None:
            logged = pq.read_table(self.work / "log.parquet").num_rows
            seen.append((row["step"], logged, len(checkpoints(self.work / "checkpoints"))))
            if row["step"] == 3:
                raise Stop

    path = make_spec(tmp_path, algorithm="sft", steps=4, checkpoint_every=2)
    with pytest.raises(Stop):
        train.run(read_spec(Driven, path))
    assert seen == [(1, 1, 0), (2, 2, 0), (3, 3, 1)]
    assert not (tmp_path / "output").exists()
    train.run(read_spec(TrainSpec, path))
    assert pq.read_table(tmp_path / "output" / "log.parquet").column("step").to_pylist() == [1, 2, 3, 4]
    assert [step for step, _, _ in seen] == [1, 2, 3]
