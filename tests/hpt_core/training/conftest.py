"""A training task that a tiny model learns within seconds: repeat the digit, boxed."""

import contextlib
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from hpt_core import schemas
from hpt_core.files import write_json, write_parquet
from hpt_core.model_folder import load_tokenizer
from tests.ports import free_port
from tests.warm import Program, Warm

PROMPT = {"name": "plain", "template": "{question}=", "instruction": None}
MakeSpec = Callable[..., Path]
Start = Callable[..., list[Program]]
Train = Callable[..., list[dict[str, Any]]]


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


@pytest.fixture(scope="session")
def start(warm: Warm) -> Start:
    """Start the training worker on a spec: a program, or one for each rank. Events are read from the first one's
    stdout; their log is beside the spec."""

    def start(spec: Path, ranks: int = 1) -> list[Program]:
        shared = {
            "WORLD_SIZE": ranks,
            "LOCAL_WORLD_SIZE": ranks,
            "MASTER_ADDR": "127.0.0.1",
            "MASTER_PORT": free_port(),
        }
        places = [{"RANK": rank, "LOCAL_RANK": rank, **shared} if ranks > 1 else {} for rank in range(ranks)]
        return [
            warm.start(
                *("hpt_core.train", str(spec)),
                log=spec.parent / "log.txt",
                environment=os.environ | {name: str(value) for name, value in place.items()},
            )
            for place in places
        ]

    return start


@pytest.fixture(scope="session")
def train(start: Start) -> Train:
    """Run the training worker on a spec to its end; its events."""

    def train(spec: Path, ranks: int = 1) -> list[dict[str, Any]]:
        with contextlib.ExitStack() as stack:
            programs = [stack.enter_context(program) for program in start(spec, ranks)]
            out, _ = programs[0].communicate(timeout=500)
        assert not any(p.returncode for p in programs), (spec.parent / "log.txt").read_text()[-4000:]
        return [json.loads(line) for line in out.splitlines()]

    return train


@pytest.fixture(scope="session")
def skilled_model(make_spec: MakeSpec, train: Train, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Output folder of an SFT run after which the model answers some digits."""
    folder = tmp_path_factory.mktemp("sft")
    changes = {"algorithm": "sft", "steps": 20, "questions_per_step": 20, "optimizer": {"learning_rate": 4e-3}}
    train(make_spec(folder, **changes))
    return folder / "output"
