"""Held-out questions, and the choice of the best model."""

import json
import random
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
import torch
from safetensors.torch import load_file

from hpt_core.errors import PreflightError
from hpt_core.files import sha256_file
from hpt_core.training.distributed import World
from hpt_core.training.model import load_model
from hpt_core.training.policy import make_policy
from hpt_core.training.questions import TrainingQuestion, hold_out
from hpt_core.training.validation import BestModel

QUESTIONS = [TrainingQuestion(f"q{i}", f"{i}?", str(i), "math", None, 4, None) for i in range(50)]


def test_held_out_questions_do_not_depend_on_the_order() -> None:
    kept, held = hold_out(QUESTIONS, 12)
    assert len(held) == 12
    assert [q for q in QUESTIONS if q not in held] == kept
    shuffled = random.Random(1).sample(QUESTIONS, len(QUESTIONS))
    assert hold_out(shuffled, 12)[1] == held
    # Fewer are part of more, so that two runs can be compared on what both hold out.
    assert hold_out(QUESTIONS, 5)[1] == held[:5]


def test_nothing_left_to_train_on_is_refused() -> None:
    with pytest.raises(
        PreflightError, match=r"holds out 50 questions, but the data has only 50.*lower validation.questions"
    ):
        hold_out(QUESTIONS, 50)


def test_a_better_model_is_kept_and_the_old_one_until_pruned(tiny_model: Path, tmp_path: Path) -> None:
    policy = make_policy(load_model(tiny_model), "float32")
    best = BestModel(tmp_path / "best", World())
    assert best.path is None
    best.offer(policy, tiny_model, "float32", 2, 0.25)
    with torch.no_grad():
        policy.model.model.norm.weight.mul_(2.0)
    best.offer(policy, tiny_model, "float32", 4, 0.25)
    assert best.path == tmp_path / "best" / "step-00002"
    best.offer(policy, tiny_model, "float32", 6, 0.5)
    first, second = (load_file(tmp_path / "best" / f"step-0000{n}" / "model.safetensors") for n in (2, 6))
    assert torch.equal(second["model.norm.weight"], 2 * first["model.norm.weight"])
    again = BestModel(tmp_path / "best", World())
    again.restore(json.loads(json.dumps(best.state())))
    assert (again.path, again.score) == (tmp_path / "best" / "step-00006", 0.5)
    again.prune(also=[2, None])
    assert sorted(p.name for p in (tmp_path / "best").iterdir()) == ["step-00002", "step-00006"]
    again.prune()
    assert [p.name for p in (tmp_path / "best").iterdir()] == ["step-00006"]


@pytest.mark.slow
def test_best_model_is_exported(
    make_spec: Any, train: Callable[[Path], list[dict[str, Any]]], skilled_model: Path, tmp_path: Path
) -> None:
    """A run that gets worse on purpose: its learning rate ruins the model after the first validation."""
    validation = {"every": 1, "questions": 10, "samples": 2}
    spec = make_spec(
        tmp_path,
        skilled_model / "model",
        algorithm="sft",
        steps=3,
        validation=validation,
        optimizer={"learning_rate": 0.3, "warmup_steps": 2},
    )
    train(spec)
    log = pq.read_table(tmp_path / "output" / "log.parquet").to_pylist()
    scores = [row["validation_reward"] for row in log]
    summary = json.loads((tmp_path / "output" / "summary.json").read_text())
    best = scores.index(max(scores)) + 1
    assert summary["best"] == {"step": best, "score": max(scores)}
    assert best < 3, f"the last model is the best of {scores}: nothing is shown"
    kept = tmp_path / "work" / "best" / f"step-{best:05d}" / "model.safetensors"
    assert sha256_file(tmp_path / "output" / "model" / "model.safetensors") == sha256_file(kept)
    assert load_model(tmp_path / "output" / "model") is not None


@pytest.mark.slow
@pytest.mark.parametrize(("stop_at", "steps"), [(-1.0, 2), (2.0, 5)])
def test_training_stops_at_a_validations_reward(
    make_spec: Any,
    train: Callable[[Path], list[dict[str, Any]]],
    skilled_model: Path,
    tmp_path: Path,
    stop_at: float,
    steps: int,
) -> None:
    validation = {"every": 2, "questions": 10, "samples": 2, "keep": "last", "stop_at": stop_at}
    settings = {"algorithm": "sft", "steps": 5, "validation": validation}
    for again in (False, True):
        train(make_spec(tmp_path, skilled_model / "model", **settings))
        log = pq.read_table(tmp_path / "output" / "log.parquet").to_pylist()
        assert len(log) == steps, f"again: {again}"
        assert json.loads((tmp_path / "output" / "summary.json").read_text())["steps"] == steps
        shutil.rmtree(tmp_path / "output")
    rewards = log[1]["validation_rewards"]
    assert len(rewards) == 10
    assert set(rewards) <= {0.0, 0.5, 1.0}
    assert log[1]["validation_reward"] == pytest.approx(sum(rewards) / 10)
    assert [row["validation_rewards"] for row in log if row["step"] % 2 and row["step"] < 5] == [[]] * (steps // 2)
