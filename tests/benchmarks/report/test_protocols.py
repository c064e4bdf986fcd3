"""A number measured under another protocol than its column has a mark."""

import json
from collections.abc import Callable
from typing import Any

import pyarrow.parquet as pq
import pytest

from benchmarks.report.build import build
from benchmarks.report.inputs import Protocol, ReportInputs
from benchmarks.report.protocols import deviations, differences, protocol_differences
from benchmarks.report.summary import terminal_table
from hpt_core.rollout.base import Sampling, StopRepetition

Make = Callable[..., ReportInputs]
RIGHT = ["correct"]
OTHER: dict[str, Any] = {
    "prompt": '{"name": "plain"}',
    "engine_version": "vllm 0.33.0",
    "engine": '{"name": "vllm", "batch_invariant": true}',
    "dtype": "float32",
    "benchmark_hash": "sha256:" + "ee" * 32,
    "grader_version": "math 2",
    "grade_timeout_s": 9.0,
    "seed": 8,
    "limit": 1,
    "prompt_hash": "sha256:" + "77" * 32,
}
"""Another value of each field, but for those that say how many samples there are and how they are drawn."""
SAMPLING = {"temperature": 1.0, "top_p": 0.5, "max_tokens": 16, "stop_repetition": StopRepetition()}


def changed(inputs: ReportInputs, **changes: Any) -> ReportInputs:
    """The second model's protocol with other values."""
    first, second = inputs.models
    result = second.results["math500"]
    result = result.model_copy(update={"protocol": result.protocol.model_copy(update=changes)})
    return inputs.model_copy(update={"models": (first, second.model_copy(update={"results": {"math500": result}}))})


@pytest.fixture
def two(answered: Make) -> ReportInputs:
    return answered({"model.base": {"q1": RIGHT, "q2": RIGHT}, "model.other": {"q1": RIGHT, "q2": ["incorrect"]}})


def cases() -> list[tuple[str, Any]]:
    own = Sampling(temperature=0.6, top_p=0.95, max_tokens=8192)
    samplings = [("sampling", own.model_copy(update={field: value})) for field, value in SAMPLING.items()]
    return [*OTHER.items(), *samplings]


def test_the_cases_cover_every_field() -> None:
    assert set(OTHER) | {"sampling", "k", "model_hash"} == set(Protocol.model_fields)
    assert set(SAMPLING) == set(Sampling.model_fields)


@pytest.mark.parametrize(("field", "value"), cases())
def test_any_protocol_difference_is_marked_everywhere(two: ReportInputs, field: str, value: Any) -> None:
    inputs = changed(two, **{field: value})
    build(inputs)
    rows = pq.read_table(inputs.output / "tables" / "scores.parquet").to_pylist()
    by_label = {(row["label"], row["kind"]): row for row in rows}
    (phrase,) = by_label["other", "benchmark"]["differences"]
    assert phrase.startswith("unlike base: ")
    assert by_label["other", "average"]["differences"] == ["protocol differs from the others on MATH-500"]
    assert by_label["base", "benchmark"]["differences"] == []
    text = (inputs.output / "leaderboard.md").read_text()
    shown = terminal_table(inputs.output)
    html = (inputs.output / "site/index.html").read_text()
    # Nothing is best in such a column, and the number that differs is marked; its column's and the average's.
    assert "**" not in text and 'class="number best' not in html
    assert text.count("¶ (") == 2 and html.count("¶</span>") == 2
    assert [row[2].count("¶") for row in shown.rows] == [0, 1]
    for note in (text.replace("\\", ""), html.replace("&#39;", "'"), "\n".join(shown.notes)):
        assert f"MATH-500: {phrase} (other)" in note


def test_another_number_of_samples_is_marked_too(answered: Make) -> None:
    inputs = answered({"model.base": {"q1": RIGHT}, "model.other": {"q1": [*RIGHT, *RIGHT]}})
    build(inputs)
    row = pq.read_table(inputs.output / "tables" / "scores.parquet").to_pylist()[2]
    assert row["differences"] == ["unlike base: k 2 instead of 1"]
    assert row["deviations"] == ["k = 2 instead of 1"]


def test_the_model_itself_is_not_a_protocol_difference(two: ReportInputs) -> None:
    first = two.models[0].results["math500"].protocol
    second = first.model_copy(update={"model_hash": "sha256:" + "99" * 32})
    assert differences(second, first) == protocol_differences(second, first) == []


def test_deviations_name_every_sampling_field(two: ReportInputs) -> None:
    suite, protocol = two.suites[0], two.models[0].results["math500"].protocol
    for field, value in SAMPLING.items():
        other = protocol.model_copy(update={"sampling": protocol.sampling.model_copy(update={field: value})})
        assert len(deviations(suite, other, suite.rows)) == 1
    assert deviations(suite, protocol, suite.rows) == []


def test_another_chat_template_is_marked_even_with_the_same_prompt_config(two: ReportInputs) -> None:
    inputs = changed(two, prompt_hash="sha256:" + "77" * 32)
    build(inputs)
    rows = pq.read_table(inputs.output / "tables" / "scores.parquet").to_pylist()
    found = {row["label"]: row["differences"] for row in rows if row["kind"] == "benchmark"}
    assert found["other"] == ["unlike base: rendered prompt 777777777777 instead of 333333333333"]


def test_a_column_is_compared_with_the_baseline(two: ReportInputs) -> None:
    inputs = changed(two, dtype="float32").model_copy(update={"baseline": "model.other"})
    build(inputs)
    rows = pq.read_table(inputs.output / "tables" / "scores.parquet").to_pylist()
    found = {row["label"]: row["differences"] for row in rows if row["kind"] == "benchmark"}
    assert found == {"base": ["unlike other: precision bfloat16 instead of float32"], "other": []}


def test_stopping_repetition_deviates_from_a_benchmark_that_does_not(two: ReportInputs) -> None:
    stopping = Sampling(temperature=0.6, top_p=0.95, max_tokens=8192, stop_repetition=StopRepetition(times=9))
    inputs = changed(two, sampling=stopping)
    build(inputs)
    row = next(
        r for r in pq.read_table(inputs.output / "tables" / "scores.parquet").to_pylist() if r["label"] == "other"
    )
    assert row["deviations"] == ["stops repetition"]
    assert json.loads(row["stop_repetition"])["times"] == 9
    suite = inputs.suites[0].model_copy(update={"sampling": stopping})
    build(inputs.model_copy(update={"suites": (suite,)}))
    rows = pq.read_table(inputs.output / "tables" / "scores.parquet").to_pylist()
    found = {r["label"]: r["deviations"] for r in rows if r["kind"] == "benchmark"}
    assert found == {"base": ["does not stop repetition"], "other": []}


def test_every_protocol_value_is_in_the_row_and_behind_the_number(two: ReportInputs) -> None:
    build(two)
    row = pq.read_table(two.output / "tables" / "scores.parquet").to_pylist()[0]
    protocol = two.models[0].results["math500"].protocol
    for field in Protocol.model_fields:
        if field != "sampling":
            assert row[field] == getattr(protocol, field)
    for field in Sampling.model_fields:
        assert row[field] == getattr(protocol.sampling, field)
    html = (two.output / "site/index.html").read_text().replace("&#34;", '"')
    for value in (
        protocol.prompt,
        "temperature 0.6",
        "top_p 0.95",
        "8,192 tokens",
        "k = 1",
        "vllm 0.32.0, bfloat16",
        protocol.engine,
        protocol.model_hash,
        protocol.benchmark_hash,
        "math 1",
        f"<dt>Prompt hash</dt><dd>{protocol.prompt_hash}</dd>",
        "<dt>Seed</dt><dd>7</dd>",
    ):
        assert value in html
