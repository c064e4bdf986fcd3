"""`hpt samples` on a store with the artifacts of a config, whose texts were made up."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from flows.graph import Planned
from hpt_core.files import write_parquet
from hpt_core.schemas import QUESTIONS, SAMPLES, VERDICTS
from tests.flows.pipelines import make_up

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


def fill(planned: Planned, output: Path) -> dict[str, Any]:
    """Make the texts of an artifact up."""
    keys = [
        {"benchmark": "procedural_double", "question_id": name, "sample_index": index}
        for name in IDS
        for index in range(2)
    ]
    if planned.target.kind == "benchmark":
        question = {"question": f"Q{EVIL}", "kind": "math", "family": ""}
        golds = dict.fromkeys(IDS, f"2{EVIL}") | {"none": r"\frac{1"}
        write(
            output / "asked.parquet",
            [{"question_id": name, "gold": golds[name], **question} for name in IDS],
            QUESTIONS,
        )
    if planned.target.kind == "samples":
        sample = {"seed": 1, "response": f"so{EVIL}", "tokens": 5, "prompt_tokens": 5, "finish_reason": "stop"}
        write(output / "samples" / "part-00000.parquet", [key | sample for key in keys], SAMPLES)
    if planned.target.kind == "verdicts":
        counts = CORRECT[planned.target.key.stage.name]
        outcomes = ["correct" if index < count else "incorrect" for count in counts for index in range(2)]
        if planned.target.key.stage.name == "b":
            outcomes[-2:] = ["gold_error"] * 2
        rows = [key | {"outcome": o, "extracted": f"3{EVIL}"} for key, o in zip(keys, outcomes, strict=True)]
        write(output / "verdicts.parquet", rows, VERDICTS)
    return {}


def write(path: Path, rows: list[dict[str, Any]], schema: pa.Schema) -> None:
    write_parquet(path, pa.Table.from_pylist(rows, schema))


@pytest.fixture
def look(run_here: Callable[..., Any], tmp_path: Path) -> Callable[..., Any]:
    """The command on this store."""
    config = tmp_path / "two.toml"
    config.write_text(CONFIG)
    make_up(config, fill)

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
    assert "procedural_double: 1 question solved by a and not by b: first" in look(*asked).out
    assert shown(look("--solved-by", "b", "--not-by", "a", "--json")) == []
    assert "go together" in look("--solved-by", "a", code=2).err


def test_it_says_why_a_gold_answer_cannot_be_read(look: Callable[..., Any]) -> None:
    found = look("--outcome", "gold_error", "--model", "b")
    assert r"gold \frac{1 (cannot be read: " in found.out and found.out.count("cannot be read") == 2
    told = {row["reason"] for row in json.loads(look("--question", "none", "--json").out)}
    assert told == {None, found.out.partition("cannot be read: ")[2].partition(");")[0]}


def test_responses_of_another_model_are_shown_beside_them(look: Callable[..., Any]) -> None:
    found = shown(look("--model", "b", "--against", "a", "--wrong", "--json"))
    wrong = {IDS[1]: [1], IDS[2]: [0, 1]}
    assert found == [
        key for name in wrong for key in [*(("b", name, i) for i in wrong[name]), ("a", name, 0), ("a", name, 1)]
    ]
    assert "name the other one: --model" in look("--against", "a", code=2).err


def test_json_is_harmless_too_and_has_the_same_texts(look: Callable[..., Any]) -> None:
    found = look("--json")
    assert not set("\x1b\x07\x9b\u202e") & set(found.out)
    assert {row["response"] for row in json.loads(found.out)} == {f"so{EVIL}"}


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
