"""`python -m hpt_core.train`: whole runs and killed runs."""

import json
import random
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from hpt_core import schemas
from hpt_core.files import sha256_file
from hpt_core.model_folder import load_tokenizer, read_config
from hpt_core.training.model import load_model
from tests.measured import MEASURED
from tests.warm import Program

Start = Callable[..., list[Program]]
Train = Callable[[Path], list[dict[str, Any]]]


KILLED = {
    "checkpoint_every": 2,
    "minibatch_rows": 12,
    "validation": {"every": 3, "questions": 8, "keep": "last"},
}
"""What the killed runs train with, beside the defaults."""


def log_of(output: Path) -> list[dict[str, Any]]:
    """The log without what the clock or the process gave."""
    rows = pq.read_table(output / "log.parquet", schema=schemas.TRAIN_LOG).to_pylist()
    return [{k: repr(v) for k, v in row.items() if k not in MEASURED} for row in rows]


def summary_of(output: Path) -> dict[str, Any]:
    summary: dict[str, Any] = json.loads((output / "summary.json").read_text())
    return summary


def assert_same_run(output: Path, expected: Path) -> None:
    """Bit for bit the same weights and rollouts, the same log and counts."""
    assert sha256_file(output / "model" / "model.safetensors") == sha256_file(expected / "model" / "model.safetensors")
    names = [p.name for p in sorted((expected / "rollouts").iterdir())]
    assert [p.name for p in sorted((output / "rollouts").iterdir())] == names
    for name in names:
        assert sha256_file(output / "rollouts" / name) == sha256_file(expected / "rollouts" / name), name
    assert log_of(output) == log_of(expected)
    ours, theirs = summary_of(output), summary_of(expected)
    for group in ("verdicts", "gate", "tokens", "rows", "updates", "steps", "max_logprob_disagreement"):
        assert ours[group] == theirs[group], group


@pytest.mark.slow
def test_sft_lowers_the_loss_and_needs_no_engine(skilled_model: Path) -> None:
    log = pq.read_table(skilled_model / "log.parquet").to_pylist()
    assert [row["step"] for row in log] == list(range(1, 21))
    assert log[0]["demonstration_nll"] > 3
    assert log[-1]["demonstration_nll"] < 1
    summary = summary_of(skilled_model)
    assert summary["engine"] is None
    assert summary["gate"] == {"sft": 20 * 20}
    assert summary["updates"] == {"done": 20, "skipped": 0}
    assert list((skilled_model / "rollouts").iterdir()) == []


@pytest.mark.slow
def test_export_is_a_complete_model_folder(skilled_model: Path, tiny_model: Path) -> None:
    exported = skilled_model / "model"
    assert {p.name for p in exported.iterdir()} == {p.name for p in tiny_model.iterdir()}
    assert read_config(exported)["dtype"] == "float32"
    assert load_tokenizer(exported)("a").input_ids == load_tokenizer(tiny_model)("a").input_ids
    model = load_model(exported)
    assert model.get_output_embeddings().weight is model.get_input_embeddings().weight


@pytest.fixture(scope="module")
def undisturbed(make_spec: Any, train: Train, skilled_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Output of an HPT run that nothing disturbed."""
    folder = tmp_path_factory.mktemp("undisturbed")
    train(make_spec(folder, skilled_model / "model", **KILLED, export_every=4, export_to=str(folder / "exports")))
    return folder / "output"


@pytest.mark.slow
def test_models_are_exported_on_the_way(undisturbed: Path) -> None:
    exports = undisturbed.parent / "exports"
    assert [path.name for path in exports.iterdir()] == ["step-00004"]
    on_the_way, last = (load_model(folder).state_dict() for folder in (exports / "step-00004", undisturbed / "model"))
    assert on_the_way.keys() == last.keys()
    assert any(not on_the_way[name].equal(last[name]) for name in last)


@pytest.mark.slow
def test_hpt_run_trains_on_both_signals(undisturbed: Path) -> None:
    summary = summary_of(undisturbed)
    assert summary["steps"] == 8
    assert summary["engine"].startswith("vllm ")
    assert summary["gate"]["sft"] > 0
    assert summary["gate"]["rl"] > 0
    assert summary["gate"]["rl"] + summary["gate"]["sft"] == 8 * 8
    assert sum(summary["verdicts"].values()) == 8 * 8 * 4
    assert summary["verdicts"]["correct"] > 0
    assert summary["verdicts"]["correct"] < 8 * 8 * 4
    assert summary["updates"]["done"] > 8
    assert summary["max_logprob_disagreement"] < 1e-3
    rows = [row for p in sorted((undisturbed / "rollouts").iterdir()) for row in pq.read_table(p).to_pylist()]
    assert len(rows) == 8 * 8 * 4
    assert {tuple(row["signals"]) for row in rows} == {("rl",), ("sft",)}
    for row in rows:
        assert row["signals"] == (["rl"] if row["success_rate"] > 0 else ["sft"])
        assert len(row["token_ids"]) == len(row["rollout_logprobs"])
    log = pq.read_table(undisturbed / "log.parquet", schema=schemas.TRAIN_LOG).to_pylist()
    assert sum(row["demonstration_share"] for row in log) == pytest.approx(summary["gate"]["sft"] / 8)
    assert sum(row["reward"] for row in log) == pytest.approx(summary["verdicts"]["correct"] / 32)
    assert [row["step"] for row in log if row["validation_reward"] >= 0] == [3, 6, 8]
    assert summary["held_out"] == 8
    assert summary["best"] is None


@pytest.mark.slow
def test_finished_run_is_exported_again_without_training(undisturbed: Path, train: Train, tmp_path: Path) -> None:
    spec = json.loads((undisturbed.parent / "spec.json").read_text())
    spec["output"] = str(tmp_path / "output")
    # What a machine lends may change between two attempts, as after one that ran out of memory.
    spec["threads"] = 1
    spec["config"] |= {
        "gradient_checkpointing": True,
        "micro_batch_tokens": 512,
        "engine": {"name": "vllm", "kv_cache_gib": 0.125},
    }
    half = tmp_path / "output" / ".model.0123abcd.tmp"
    half.mkdir(parents=True)
    (half / "config.json").write_text("{")
    (tmp_path / "spec.json").write_text(json.dumps(spec))
    events = train(tmp_path / "spec.json")
    assert not half.exists()
    assert "ran with threads = 2; this process has 1" in (tmp_path / "log.txt").read_text()
    assert events[-1]["done"] == 8
    assert not any(event["text"].startswith("reward") for event in events)
    assert_same_run(tmp_path / "output", undisturbed)


def wait_for_step(process: Program, step: int) -> None:
    """Read events until `step` steps are done."""
    for line in process.stdout:
        if json.loads(line).get("done") == step:
            return
    raise AssertionError("the worker ended before the step")


def kill_within_checkpoint(process: Program, checkpoints: Path) -> list[Path]:
    """Stop the worker while a checkpoint is half-written, make sure it is, kill it; the half-written folders."""
    deadline = time.monotonic() + 300
    while time.monotonic() < deadline and process.poll() is None:
        if not any(checkpoints.glob(".step-*.tmp")):
            continue
        process.send_signal(signal.SIGSTOP)
        half = list(checkpoints.glob(".step-*.tmp"))
        if half:
            process.kill()
            process.wait()
            return half
        process.send_signal(signal.SIGCONT)
    raise AssertionError("no checkpoint was caught half-written")


@pytest.mark.slow
def test_killed_runs_end_like_an_uninterrupted_one(
    undisturbed: Path, make_spec: Any, start: Start, train: Train, skilled_model: Path, tmp_path: Path
) -> None:
    """SIGKILL at seeded moments within steps, and once within a checkpoint; then the run is finished."""
    spec = make_spec(tmp_path, skilled_model / "model", **KILLED)
    generator = random.Random(20)
    rollouts = tmp_path / "work" / "rollouts"

    (process,) = start(spec)
    with process:
        wait_for_step(process, 3)
        time.sleep(generator.uniform(0, 0.05))
        process.kill()
    assert process.returncode == -signal.SIGKILL
    drawn = {p.name for p in rollouts.glob("step-*.parquet")}
    # Step 3 is done and lies after the checkpoint of step 2: work that was in flight and is done again.
    assert "step-00003.parquet" in drawn
    whole = max(p.name for p in (tmp_path / "work" / "checkpoints").glob("step-*"))
    assert whole < max(drawn).removesuffix(".parquet"), "every step drawn was checkpointed: nothing was in flight"

    (process,) = start(spec)
    with process:
        half = kill_within_checkpoint(process, tmp_path / "work" / "checkpoints")
    assert process.returncode == -signal.SIGKILL
    assert all(path.is_dir() for path in half)
    assert not (tmp_path / "output").exists()

    (process,) = start(spec)
    with process:
        wait_for_step(process, 7)
        time.sleep(generator.uniform(0, 0.1))
        process.kill()
    assert process.returncode == -signal.SIGKILL
    assert not (tmp_path / "output" / "summary.json").exists()

    train(spec)
    assert_same_run(tmp_path / "output", undisturbed)
    assert not any((tmp_path / "work" / "checkpoints").glob(".step-*"))


@pytest.mark.slow
def test_a_share_of_the_rollouts_is_kept(make_spec: Any, train: Train, tmp_path: Path) -> None:
    """Of every second step and of the last one, in work/ as training goes on and in output/."""
    changes = {"algorithm": "grpo", "steps": 5, "questions_per_step": 1, "rollouts_per_question": 2}
    small = {"engine": "transformers", "sampling": {"max_tokens": 4}, "keep_rollouts": {"every": 2, "last": 1}}
    train(make_spec(tmp_path, **changes, **small))
    for folder in ("work", "output"):
        kept = sorted(path.name for path in (tmp_path / folder / "rollouts").iterdir())
        assert kept == [f"step-0000{step}.parquet" for step in (2, 4, 5)]


@pytest.mark.slow
def test_checkpoint_of_another_run_is_refused(undisturbed: Path, start: Start, tmp_path: Path) -> None:
    spec = json.loads((undisturbed.parent / "spec.json").read_text())
    spec["seed"] += 1
    spec["output"] = str(tmp_path / "output")
    (tmp_path / "spec.json").write_text(json.dumps(spec))
    (process,) = start(tmp_path / "spec.json")
    with process:
        out, _ = process.communicate(timeout=300)
    error = json.loads(out.splitlines()[-1])
    assert process.returncode == 1
    assert error["type"] == "TrainingError"
    assert "belongs to a different run" in error["cause"]
    assert not (tmp_path / "output").exists()
