"""`hpt samples` on a store with the artifacts of a config, whose texts were made up."""

import json
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from flows.graph import Planned
from flows.load import load_config
from flows.run import plan_run
from hpt_core.artifacts import Manifest, Slot
from hpt_core.files import sha256_json
from hpt_core.schemas import QUESTIONS, SAMPLES, VERDICTS

CONFIG = """
name = "two"
model.a.source = { name = "scratch", layers = 1 }
model.b.source = { name = "scratch", layers = 2 }
[evaluate]
models = ["model.a", "model.b"]
suites = ["procedural_double"]
engine = "scripted"
limit = 3
k = 2
"""
EVIL = "\x1b]0;title\x07\x9b31m\u202e"
"""Sets a terminal's title and colors, and reverses what follows."""
IDS = ("both", f"first{EVIL}", "none")
CORRECT = {"a": (2, 2, 0), "b": (2, 1, 0)}
"""Correct samples of each question, of two each."""


def written(planned: Planned, slot: Slot) -> None:
    """Make an artifact of the config up."""
    target, now = planned.target, datetime.now(UTC)
    keys = [{"benchmark": target.key.part, "question_id": name, "sample_index": i} for name in IDS for i in range(2)]
    answers = [i < count for count in CORRECT.get(target.key.stage.name, ()) for i in range(2)]
    tables: dict[str, tuple[str, list[dict[str, Any]], pa.Schema]] = {
        "benchmark": (
            "asked.parquet",
            [{"question_id": i, "question": f"Q{EVIL}", "gold": f"2{EVIL}", "kind": "math", "family": ""} for i in IDS],
            QUESTIONS,
        ),
        "samples": (
            "samples/part-00000.parquet",
            [
                {**key, "seed": 1, "response": f"so{EVIL}", "tokens": 5, "prompt_tokens": 5, "finish_reason": "stop"}
                for key in keys
            ],
            SAMPLES,
        ),
        "verdicts": (
            "verdicts.parquet",
            [
                {**key, "outcome": "correct" if solved else "incorrect", "extracted": f"3{EVIL}"}
                for key, solved in zip(keys, answers, strict=False)
            ],
            VERDICTS,
        ),
    }
    if target.kind in tables:
        name, rows, schema = tables[target.kind]
        (slot.output / name).parent.mkdir(parents=True)
        pq.write_table(pa.Table.from_pylist(rows, schema), slot.output / name)
    outputs = {output.name: sha256_json([target.fingerprint, output.name]) for output in planned.step.produces}
    facts = {"stage": str(target.key), "kind": target.kind, "fingerprint": target.fingerprint, "config": target.config}
    facts |= {"versions": {}, "files": (), "inputs": target.inputs, "outputs": outputs, "start": now, "end": now}
    slot.output.mkdir(parents=True, exist_ok=True)
    slot.commit(Manifest.model_validate(facts))


@pytest.fixture
def look(run_here: Callable[..., Any], tmp_path: Path) -> Callable[..., Any]:
    """The command on this store."""
    config = tmp_path / "two.toml"
    config.write_text(CONFIG)
    while not (run := plan_run(load_config(config))).plan.finished:
        ready = [p for p in run.plan.planned if p.check.state != "done" and not p.target.provisional]
        assert ready, run.plan.problems
        for planned in ready:
            written(planned, run.context.store.slot(planned.target.kind, planned.target.fingerprint))

    def look(*arguments: str, code: int = 0) -> Any:
        found = run_here("samples", "two.toml", *arguments)
        assert found.code == code, found
        return found

    return look


def shown(found: Any) -> list[tuple[str, str, int]]:
    return [(row["model"], row["question_id"], row["sample_index"]) for row in json.loads(found.out)]


def test_questions_that_one_model_solves_and_another_does_not(look: Callable[..., Any]) -> None:
    asked = ("--solved-by", "a", "--not-by", "b")
    both = [(model, IDS[1], i) for model in "ab" for i in range(2)]
    assert shown(look(*asked, "--json")) == both
    assert "procedural_double: 1 questions solved by a and not by b: first" in look(*asked).out
    assert shown(look("--solved-by", "b", "--not-by", "a", "--json")) == []
    assert "go together" in look("--solved-by", "a", code=2).err


def test_responses_of_another_model_are_shown_beside_them(look: Callable[..., Any]) -> None:
    found = shown(look("--model", "b", "--against", "a", "--wrong", "--json"))
    wrong = {IDS[1]: [1], IDS[2]: [0, 1]}
    assert found == [
        key for name in wrong for key in [*(("b", name, i) for i in wrong[name]), ("a", name, 0), ("a", name, 1)]
    ]
    assert "name the other one: --model" in look("--against", "a", code=2).err


@pytest.mark.parametrize("asked", [(), ("--model", "a", "--against", "b"), ("--solved-by", "a", "--not-by", "b")])
def test_no_text_reaches_the_terminal_as_a_command(look: Callable[..., Any], asked: tuple[str, ...]) -> None:
    """Of questions, their ids, gold answers, responses and extracted answers."""
    found = look(*asked)
    assert not set(EVIL[:1] + "\x07\x9b\u202e") & set(found.out + found.err)
    told = r"\u001b]0;title\u0007\u009b31m\u202e"
    for text in ("Q", "first", "so", "answer 3", "gold 2"):
        assert f"{text}{told}" in found.out


def test_the_name_of_a_model_is_no_command_either(run_here: Callable[..., Any], tmp_path: Path) -> None:
    (tmp_path / "evil.toml").write_text(CONFIG.replace("model.a.source", r'model."a\u001b[31m".source'))
    found = run_here("samples", "evil.toml")
    assert (found.code, "is not a valid name" in found.err, "\x1b" in found.err) == (2, True, False)
    (tmp_path / "two.toml").write_text(CONFIG)
    found = run_here("samples", "two.toml", "--model", "a\x1b[31m")
    assert (found.code, "\x1b" in found.err) == (2, False)
