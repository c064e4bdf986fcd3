"""Two ranks on CPUs with gloo: the same program gives what one process gives."""

import contextlib
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from safetensors.torch import load_file
from torch.testing import assert_close

from hpt_core.errors import ConfigError
from hpt_core.training.distributed import World, world_from_environment
from tests.warm import Program

Start = Callable[..., list[Program]]
NEARLY_LINEAR = {"learning_rate": 0.1, "eps": 1.0}
"""AdamW whose step is nearly proportional to the gradient, so that rounding stays rounding: with a small eps, an entry
whose gradient is noise takes a whole step in a random direction."""
Train = Callable[..., list[dict[str, Any]]]


def weights(folder: Path) -> dict[str, Any]:
    return load_file(folder / "output" / "model" / "model.safetensors")


def log_of(folder: Path) -> list[dict[str, Any]]:
    return pq.read_table(folder / "output" / "log.parquet").to_pylist()


def test_all_groups_are_distributed_evenly() -> None:
    groups = [[i] for i in range(7)]
    dealt = [World(rank, 3).mine(groups) for rank in range(3)]
    assert [len(part) for part in dealt] == [3, 3, 3]
    assert sorted(g[0] for part in dealt for g in part if g is not None) == list(range(7))
    # There and back: no rank has the largest of every round.
    assert [part[:2] for part in dealt] == [[[0], [5]], [[1], [4]], [[2], [3]]]
    assert World().mine(groups) == groups


def test_environment_of_torchrun_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("RANK", "WORLD_SIZE", "LOCAL_RANK", "LOCAL_WORLD_SIZE"):
        monkeypatch.delenv(name, raising=False)
    assert world_from_environment() == World(0, 1, 0, 1)
    monkeypatch.setenv("RANK", "3")
    monkeypatch.setenv("WORLD_SIZE", "4")
    assert world_from_environment() == World(3, 4, 0, 1)
    monkeypatch.setenv("RANK", "three")
    with pytest.raises(ConfigError, match="torchrun"):
        world_from_environment()


@pytest.mark.slow
@pytest.mark.parametrize(
    "changes",
    [
        {
            "algorithm": "hpt",
            "gradient_checkpointing": True,
            "minibatch_rows": 9,
            "questions_per_step": 7,
            "checkpoint_every": 1,
            "checkpoint_async": True,
            "validation": {"every": 1, "questions": 5, "keep": "last"},
        },
        {"algorithm": "ppo", "lora": {"rank": 4}, "packing": True, "importance_cap": 2.0},
    ],
    ids=["hpt", "ppo"],
)
def test_two_ranks_train_as_one_process_does(
    make_spec: Any, train: Train, skilled_model: Path, tmp_path: Path, changes: dict[str, Any]
) -> None:
    """The same rollouts, the same gradients, the same weights but for the order of sums."""
    common = {"steps": 2, "micro_batch_tokens": 150, "optimizer": NEARLY_LINEAR} | changes
    folders = [tmp_path / "one", tmp_path / "two"]
    events = [
        train(make_spec(folder, skilled_model / "model", **common), ranks)
        for ranks, folder in enumerate(folders, start=1)
    ]
    assert events[1][-1]["done"] == 2
    one, two = (log_of(folder) for folder in folders)
    assert [row["updates"] for row in one] == [row["updates"] for row in two]
    assert one[0]["gradient_norm"] > 0
    for ours, theirs in zip(two, one, strict=True):
        for column in (
            "reward",
            "surrogate",
            "gradient_norm",
            "demonstration_share",
            "response_tokens",
            "entropy",
            "validation_reward",
            "validation_rewards",
        ):
            assert ours[column] == pytest.approx(theirs[column], rel=1e-4, abs=1e-6, nan_ok=True), column
    before = load_file(skilled_model / "model" / "model.safetensors")
    moved = 0.0
    for name, tensor in weights(folders[0]).items():
        assert_close(weights(folders[1])[name], tensor, rtol=0, atol=1e-6, msg=name)
        moved = max(moved, (tensor - before[name]).abs().max().item())
    assert moved > 1e-3
    summary = json.loads((folders[1] / "output" / "summary.json").read_text())
    assert summary["ranks"] == 2
    assert summary["verdicts"] == json.loads((folders[0] / "output" / "summary.json").read_text())["verdicts"]


@pytest.mark.slow
@pytest.mark.parametrize("first", [1, 2])
def test_a_run_continues_with_another_number_of_ranks(
    make_spec: Any, start: Start, train: Train, skilled_model: Path, tmp_path: Path, first: int
) -> None:
    """From one rank to two, or back: a checkpoint is of the run, not of its ranks. The newest one is damaged, and all
    ranks continue from the one before."""
    changes = {
        "algorithm": "sft",
        "questions_per_step": 8,
        "steps": 6,
        "checkpoint_every": 1,
        "optimizer": NEARLY_LINEAR,
    }
    train(make_spec(tmp_path / "whole", skilled_model / "model", **changes))
    spec = make_spec(tmp_path / "parts", skilled_model / "model", **changes)
    with contextlib.ExitStack() as stack:
        programs = [stack.enter_context(program) for program in start(spec, first)]
        for line in programs[0].stdout:
            if json.loads(line).get("done") == 2:
                break
        for program in programs:
            program.terminate()
    done = sorted(p.name for p in (tmp_path / "parts" / "work" / "checkpoints").glob("step-*"))
    assert done, "nothing was saved before the run was ended"
    assert done[-1] < "step-00006", "nothing was left to do"
    assert len(done) == 2
    tensors = next((tmp_path / "parts" / "work" / "checkpoints" / done[-1] / "tensors").glob("*.distcp"))
    os.truncate(tensors, tensors.stat().st_size // 2)
    events = train(spec, 3 - first)
    resumed = [event["done"] for event in events if event.get("text") == "resumed"]
    assert resumed == [int(done[0].removeprefix("step-"))]
    for name, tensor in weights(tmp_path / "whole").items():
        assert_close(weights(tmp_path / "parts")[name], tensor, rtol=0, atol=1e-6, msg=name)
    log = (tmp_path / "parts" / "log.txt").read_text()
    assert log.count(f"{done[-1]}.damaged: ") == 1, "the first rank alone says it"
    assert f"earlier steps ran on {first} ranks; this run has {3 - first}" in log
