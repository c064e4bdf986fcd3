"""The spec of a training run that only its trackers read."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from hpt_core.training.config import TrainSpec

SpecOf = Callable[..., TrainSpec]


@pytest.fixture
def spec_of(tmp_path: Path) -> SpecOf:
    """Spec with these trackers, and any other field."""

    def make(*trackers: Any, **changes: Any) -> TrainSpec:
        fields = {
            "config": {"algorithm": "sft", "steps": 3},
            "prompt": "plain",
            "model": tmp_path / "model",
            "data": tmp_path / "prepared.parquet",
            "seed": 7,
            "work": tmp_path / "work",
            "output": tmp_path / "output",
            "tracking": tmp_path / "tracking",
            "run_name": "demo train.hpt",
            "trackers": trackers,
        }
        return TrainSpec.model_validate(fields | changes)

    return make
