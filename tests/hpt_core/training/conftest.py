"""A training task that a tiny model learns within seconds: repeat the digit, boxed."""

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from hpt_core import schemas
from hpt_core.files import write_json, write_parquet
from hpt_core.model_folder import load_tokenizer

PROMPT = {"name": "plain", "template": "{question}=", "instruction": None}
MakeSpec = Callable[..., Path]


@pytest.fixture(scope="session")
def digits_data(tiny_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """prepared.parquet of 40 questions; the answer is the question's last digit."""
    tokenizer = load_tokenizer(tiny_model)
    rows = []
    for i in range(40):
        question, demonstration = f"{i:02d}", f"{i % 10} so \\boxed{{{i % 10}}}"
        rows.append(
            {
                "question_id": f"digit-{i}",
                "question": question,
                "gold": str(i % 10),
                "kind": "math",
                "family": "digit",
                "prompt_tokens": len(tokenizer(f"{question}=").input_ids),
                "demonstration": demonstration,
                "demonstration_tokens": len(demonstration) + 1,
                "demonstration_verdict": "correct",
            }
        )
    path = tmp_path_factory.mktemp("data") / "prepared.parquet"
    write_parquet(path, pa.Table.from_pylist(rows, schema=schemas.PREPARED))
    return path


@pytest.fixture(scope="session")
def make_spec(tiny_model: Path, digits_data: Path) -> MakeSpec:
    """Write the spec of a run whose work and output are in `folder`; `changes` go into the stage's config."""

    def make(folder: Path, model: Path = tiny_model, data: Path = digits_data, **changes: Any) -> Path:
        config = {
            "algorithm": "hpt",
            "steps": 8,
            "questions_per_step": 8,
            "rollouts_per_question": 4,
            "sampling": {"max_tokens": 24},
            "engine": {"name": "vllm", "kv_cache_gib": 0.25},
            "optimizer": {"learning_rate": 1e-3},
        }
        spec = {
            "config": config | changes,
            "prompt": PROMPT,
            "model": str(model),
            "data": str(data),
            "seed": 7,
            "threads": 2,
            "verifier_workers": 1,
            "work": str(folder / "work"),
            "output": str(folder / "output"),
        }
        write_json(folder / "spec.json", spec)
        return folder / "spec.json"

    return make


def _start(spec: Path) -> subprocess.Popen[str]:
    with (spec.parent / "log.txt").open("a") as log:
        return subprocess.Popen(
            [sys.executable, "-m", "hpt_core.train", str(spec)], stdout=subprocess.PIPE, stderr=log, text=True
        )


def _train(spec: Path) -> list[dict[str, Any]]:
    with _start(spec) as process:
        out, _ = process.communicate(timeout=500)
    assert process.returncode == 0, (spec.parent / "log.txt").read_text()[-3000:]
    return [json.loads(line) for line in out.splitlines()]


@pytest.fixture(scope="session")
def start() -> Callable[[Path], subprocess.Popen[str]]:
    """Start the training worker on a spec, its events readable from stdout; its log is beside the spec."""
    return _start


@pytest.fixture(scope="session")
def train() -> Callable[[Path], list[dict[str, Any]]]:
    """Run the training worker on a spec to its end; its events."""
    return _train


@pytest.fixture(scope="session")
def skilled_model(make_spec: MakeSpec, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Output folder of an SFT run after which the model answers some digits."""
    folder = tmp_path_factory.mktemp("sft")
    changes = {"algorithm": "sft", "steps": 20, "questions_per_step": 20, "optimizer": {"learning_rate": 4e-3}}
    _train(make_spec(folder, **changes))
    return folder / "output"
