"""`hpt spec`: a custom launcher trains a stage, and the pipeline continues with its model."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from hpt_core.training.config import TrainSpec

SHORT = ("--set", "train.sft.steps=3")


def torchrun(hpt: Any, spec: str) -> "subprocess.CompletedProcess[str]":
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    return subprocess.run(
        [*command, "-m", "hpt_core.train", spec],
        cwd=hpt.folder,
        env=hpt.environment,
        text=True,
        capture_output=True,
        timeout=300,
        check=False,
    )


def test_the_pipeline_continues_with_a_model_that_a_launcher_trained(again: Any) -> None:
    again.train_too()
    found = again("spec", "tiny.toml", "train.sft", *SHORT)
    (line,) = found.stdout.splitlines()
    spec = TrainSpec.model_validate_json(Path(line).read_bytes())
    assert "data.d: done" in found.stderr, "what the stage starts from was made"
    slot = Path(line).parent
    assert (spec.work, spec.output, spec.tracking) == (slot / "work", slot / "output", slot / "tracking")
    assert (spec.config.steps, spec.run_name) == (3, "tiny train.sft")

    trained = torchrun(again, line)
    assert trained.returncode == 0, trained.stderr
    events = [json.loads(text) for text in trained.stdout.splitlines() if text.startswith('{"event"')]
    assert [e["done"] for e in events if e["done"]][-1] == 3
    assert sum(e["done"] == 3 for e in events) == 1, "rank 0 alone reports"
    weights = {file.name: file.read_bytes() for file in (slot / "output" / "model").iterdir()}
    assert not (slot / "manifest.json").exists()

    again("train", "tiny.toml", *SHORT)
    assert (slot / "manifest.json").exists()
    assert {file.name: file.read_bytes() for file in (slot / "output" / "model").iterdir()} == weights
    assert json.loads((slot / "output" / "summary.json").read_text())["steps"] == 3
    assert "resuming after step 3" in (slot / "log.txt").read_text()
    assert list((slot / "tracking" / "tensorboard").iterdir())

    refused = again("spec", "tiny.toml", "train.sft", *SHORT, code=1)
    assert "train.sft is already trained" in refused.stderr
    assert "Remedy: use `hpt rerun CONFIG --from train.sft`" in refused.stderr


def test_out_sets_the_place_of_the_spec(again: Any) -> None:
    again.train_too()
    answer = json.loads(again("spec", "tiny.toml", "train.sft", "--out", "here/spec.json", "--json").stdout)
    assert answer == {
        "stage": "train.sft",
        "spec": str(again.folder / "here" / "spec.json"),
        "module": "hpt_core.train",
    }
    spec = TrainSpec.model_validate_json(Path(answer["spec"]).read_bytes())
    assert spec.output.parent.parent == again.store / "train"


@pytest.mark.parametrize(
    ("stage", "said"),
    [("train.sfd", "did you mean 'train.sft'"), ("model.base", "there is no training stage 'model.base'")],
)
def test_only_training_stages_have_a_spec(again: Any, stage: str, said: str) -> None:
    again.train_too()
    refused = again("spec", "tiny.toml", stage, code=2)
    assert said in refused.stderr
    assert refused.stdout == ""
