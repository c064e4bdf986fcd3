"""Event files, read back with TensorBoard's own reader."""

import math
from collections.abc import Callable
from pathlib import Path

import pytest

from hpt_core.trackers.tensorboard import tag
from hpt_core.training.config import TrainSpec

pytest.importorskip("tensorboard", reason="needs the package tensorboard")

SpecOf = Callable[..., TrainSpec]


def row(step: int, reward: float) -> dict[str, float]:
    return {"step": step, "reward": reward, "seconds_rollout": 2.0, "entropy": math.nan if step == 2 else 0.5}


def scalars(folder: Path, name: str) -> list[tuple[int, float]]:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    found = EventAccumulator(str(folder / "tensorboard"))
    found.Reload()
    return [(event.step, event.value) for event in found.Scalars(name)]


def train(spec: TrainSpec, done: int, steps: range, reward: float) -> None:
    mirror = spec.open_trackers(done)
    for step in steps:
        mirror.log(row(step, reward))
    mirror.close()


def test_rows_become_scalars_without_nan(spec_of: SpecOf, tmp_path: Path) -> None:
    train(spec_of("tensorboard"), 0, range(1, 4), 0.25)
    assert scalars(tmp_path / "tracking", "train/reward") == [(1, 0.25), (2, 0.25), (3, 0.25)]
    assert scalars(tmp_path / "tracking", "seconds/rollout") == [(1, 2.0), (2, 2.0), (3, 2.0)]
    assert scalars(tmp_path / "tracking", "train/entropy") == [(1, 0.5), (3, 0.5)]


@pytest.mark.parametrize("done", [0, 2])
def test_a_resumed_run_shows_no_step_twice(spec_of: SpecOf, tmp_path: Path, done: int) -> None:
    """Cut short after step 4, with its newest checkpoint at step 2, or with none."""
    spec = spec_of("tensorboard")
    train(spec, 0, range(1, 5), 0.25)
    train(spec, done, range(done + 1, 7), 0.75)
    expected = [(step, 0.25 if step <= done else 0.75) for step in range(1, 7)]
    assert scalars(tmp_path / "tracking", "train/reward") == expected


def test_the_config_is_shown_with_the_run(spec_of: SpecOf, tmp_path: Path) -> None:
    train(spec_of("tensorboard"), 0, range(1, 2), 0.5)
    text = b"".join(file.read_bytes() for file in (tmp_path / "tracking" / "tensorboard").iterdir())
    assert b"demo train.hpt" in text
    assert b"questions_per_step" in text


@pytest.mark.parametrize(
    ("column", "shown"),
    [
        ("seconds_rollout", "seconds/rollout"),
        ("surrogate_rl", "surrogate/rl"),
        ("surrogate", "train/surrogate"),
        ("reward", "train/reward"),
        ("gradient_norm", "train/gradient_norm"),
    ],
)
def test_families_are_shown_together(column: str, shown: str) -> None:
    assert tag(column) == shown
