"""A number measured under another protocol than its column has a mark."""

import json
from collections.abc import Callable
from html import unescape
from typing import Any

import pyarrow.parquet as pq
import pytest

from benchmarks.report.build import build
from benchmarks.report.inputs import Protocol, PublishedRules, ReportInputs
from benchmarks.report.protocols import deviations, differences, protocol_differences
from benchmarks.report.summary import terminal_table
from hpt_core.errors import DataError
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
    "protocol": "paper",
    "max_total_tokens": 8192,
    "from_model": True,
    "seeds": "counted",
}
"""Another value of each field, but for those that say how many samples there are and how they are drawn."""
SAMPLING: dict[str, Any] = {
    "temperature": 1.0,
    "top_p": 0.5,
    "max_tokens": 16,
    "stop_repetition": StopRepetition(),
    "top_k": 20,
    "min_p": 0.1,
    "presence_penalty": 1.0,
    "frequency_penalty": 0.5,
    "repetition_penalty": 1.1,
    "stop": ("Question:", "<|im_end|>"),
}


def changed(inputs: ReportInputs, *places: int, **changes: Any) -> ReportInputs:
    """The protocols of the models at these places with other values; without any, the second's."""
    models = list(inputs.models)
    for place in places or (1,):
        result = models[place].results["math500"]
        result = result.model_copy(update={"protocol": result.protocol.model_copy(update=changes)})
        models[place] = models[place].model_copy(update={"results": {"math500": result}})
    return inputs.model_copy(update={"models": tuple(models)})


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
    assert [row[1].count("¶") for row in shown.rows] == [0, 1]
    for note in (text.replace("\\", ""), unescape(html), "\n".join(shown.notes)):
        assert f"MATH-500: {phrase} (other)" in note


def test_another_number_of_samples_is_marked_too(answered: Make) -> None:
    inputs = answered({"model.base": {"q1": RIGHT}, "model.other": {"q1": [*RIGHT, *RIGHT]}})
    build(inputs)
    row = pq.read_table(inputs.output / "tables" / "scores.parquet").to_pylist()[3]
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


def test_a_column_is_compared_by_the_protocol_of_most_models(answered: Make) -> None:
    """The baseline alone was measured by another version of the engine: the others still compete."""
    right = {"q1": RIGHT, "q2": RIGHT}
    inputs = answered({"model.base": right, "train.sft": right, "train.hpt": right})
    build(changed(inputs, 0, engine_version="vllm 0.33.0"))
    rows = pq.read_table(inputs.output / "tables" / "scores.parquet").to_pylist()
    found = {row["label"]: (row["differences"], row["best"]) for row in rows if row["kind"] == "benchmark"}
    unlike = ["unlike sft: engine vllm 0.33.0 instead of vllm 0.32.0"]
    assert found == {"base": (unlike, False), "sft": ([], True), "hpt": ([], True)}


def test_a_limited_measurement_is_not_what_a_whole_one_is_compared_with(answered: Make) -> None:
    few, whole = {"q1": RIGHT}, {"q1": RIGHT, "q2": RIGHT}
    inputs = answered({"model.whole": whole, "train.a": few, "train.b": few}, baseline="train.a")
    build(changed(inputs, 1, 2, limit=1))
    rows = pq.read_table(inputs.output / "tables" / "scores.parquet").to_pylist()
    found = {row["label"]: bool(row["differences"]) for row in rows if row["kind"] == "benchmark"}
    assert found == {"whole": False, "a": True, "b": True}


def test_of_two_protocols_as_frequent_a_column_has_the_baselines(two: ReportInputs) -> None:
    inputs = changed(two, dtype="float32").model_copy(update={"baseline": "model.other"})
    build(inputs)
    rows = pq.read_table(inputs.output / "tables" / "scores.parquet").to_pylist()
    found = {row["label"]: row["differences"] for row in rows if row["kind"] == "benchmark"}
    assert found == {"base": ["unlike other: precision bfloat16 instead of float32"], "other": []}


def test_stopping_repetition_deviates_from_a_benchmark_that_does_not(two: ReportInputs) -> None:
    stopping = Sampling(temperature=0.6, top_p=0.95, max_tokens=8192, stop_repetition=StopRepetition(times=9))
    inputs = changed(two, sampling=stopping)
    build(inputs)
    rows = pq.read_table(inputs.output / "tables" / "scores.parquet").to_pylist()
    row = next(r for r in rows if r["label"] == "other" and r["kind"] == "benchmark")
    assert row["deviations"] == ["stops repetition"]
    assert json.loads(row["stop_repetition"])["times"] == 9
    rules = inputs.suites[0].rules.model_copy(update={"sampling": stopping})
    suite = inputs.suites[0].model_copy(update={"rules": rules})
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
    for field in ("temperature", "top_p", "max_tokens", "stop_repetition"):
        assert row[field] == getattr(protocol.sampling, field)
    assert row["sampling_options"] is None
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


def test_every_sampling_option_is_behind_the_number(two: ReportInputs) -> None:
    sampling = Sampling(temperature=0.6, top_p=0.95, max_tokens=8192).model_copy(update=SAMPLING)
    build(changed(two, sampling=sampling))
    rows = pq.read_table(two.output / "tables" / "scores.parquet").to_pylist()
    row = next(r for r in rows if r["label"] == "other" and r["kind"] == "benchmark")
    own = {"temperature", "top_p", "max_tokens", "stop_repetition"}
    expected = {name: value for name, value in SAMPLING.items() if name not in own}
    assert json.loads(row["sampling_options"]) == {**expected, "stop": list(SAMPLING["stop"])}
    html = (two.output / "site/index.html").read_text().replace("&#34;", '"').replace("&lt;", "<").replace("&gt;", ">")
    assert '"top_k": 20' in html and '"stop": ["Question:", "<|im_end|>"]' in html
    assert len(row["deviations"]) == len(SAMPLING)
    assert "top_k 20 instead of 0" in row["deviations"]
    assert "stop ['Question:', '<|im_end|>'] instead of []" in row["deviations"]


RULES: dict[str, Any] = {
    "prompt": ('{"name": "plain"}', "another prompt"),
    "max_total_tokens": (8192, "no limit on prompt and response together instead of 8192 tokens with the prompt"),
    "k": (32, "k = 1 instead of 32"),
    "counted_from": (42, "derived seeds instead of seeds counted from 42"),
    "dtype": ("float32", "precision bfloat16 instead of precision float32"),
    "covers": (False, "not a benchmark of the protocol benchmark"),
    "sampling": (Sampling(temperature=0.6, top_p=0.95, max_tokens=99), "8192 new tokens instead of 99"),
}
"""Another rule of the protocol for a benchmark, and what the report says of a number that does not follow it."""


@pytest.mark.parametrize("field", RULES)
def test_an_override_of_the_protocol_is_named(two: ReportInputs, field: str) -> None:
    value, phrase = RULES[field]
    suite = two.suites[0]
    rules = suite.rules.model_copy(update={field: value})
    build(two.model_copy(update={"suites": (suite.model_copy(update={"rules": rules}),)}))
    rows = pq.read_table(two.output / "tables" / "scores.parquet").to_pylist()
    assert {tuple(r["deviations"]) for r in rows if r["kind"] == "benchmark"} == {(phrase,)}
    assert "† Not measured under the report's protocol" in (two.output / "leaderboard.md").read_text()


def published(inputs: ReportInputs, **changes: Any) -> ReportInputs:
    """The report beside published numbers that were measured in another way."""
    fields = {**dict(inputs.suites[0].rules), "grader": "any of several", "data": "a/b", **changes}
    suite = inputs.suites[0].model_copy(update={"published": PublishedRules(**fields), "data": "a/b"})
    return inputs.model_copy(update={"suites": (suite,), "published": "qwen2.5-math-7b"})


@pytest.mark.parametrize(
    ("changes", "phrases"),
    [
        ({}, []),
        (
            {"max_total_tokens": 8192},
            ["no limit on prompt and response together instead of 8192 tokens with the prompt"],
        ),
        ({"k": 32}, ["k = 1 instead of 32"]),
        ({"data": "c/d"}, ["data a/b instead of c/d"]),
        ({"prompt": "{}"}, ["another prompt"]),
    ],
)
def test_a_number_unlike_the_published_ones_is_marked_everywhere(
    two: ReportInputs, changes: dict[str, Any], phrases: list[str]
) -> None:
    inputs = published(two, **changes)
    build(inputs)
    rows = pq.read_table(inputs.output / "tables" / "scores.parquet").to_pylist()
    expected = [*phrases, "grader math 1 instead of any of several"]
    measured = [r for r in rows if r["source"] == "measured"]
    assert {tuple(r["published_differences"]) for r in measured if r["kind"] == "benchmark"} == {tuple(expected)}
    assert {tuple(r["published_differences"]) for r in measured if r["kind"] == "average"} == {
        ("protocol differs from the published one on MATH-500",)
    }
    assert all(r["published_differences"] == [] for r in rows if r["source"] == "published")
    text = (inputs.output / "leaderboard.md").read_text()
    shown = terminal_table(inputs.output)
    html = (inputs.output / "site/index.html").read_text()
    assert text.count("‖ (") == 4 and html.count("‖</span>") == 4
    assert [sum("‖" in cell for cell in row) for row in shown.rows] == [2, 2, *[0] * 7]
    told = "; ".join(f"MATH-500: {phrase}" for phrase in expected)
    note = f"‖ Not comparable with the published numbers of its column: {told}."
    assert note in text.replace("\\", "") and note in shown.notes


def test_a_limited_number_is_unlike_the_published_ones_in_its_data(two: ReportInputs) -> None:
    suite = two.suites[0].model_copy(update={"rows": 500})
    inputs = published(two.model_copy(update={"suites": (suite,)}))
    build(inputs)
    row = pq.read_table(inputs.output / "tables" / "scores.parquet").to_pylist()[1]
    assert row["published_differences"] == ["2 of 500 questions", "grader math 1 instead of any of several"]


def test_published_numbers_carry_their_protocol(two: ReportInputs) -> None:
    inputs = published(two, protocol="paper", max_total_tokens=8192, dtype="bfloat16", counted_from=42)
    build(inputs)
    rows = pq.read_table(inputs.output / "tables" / "scores.parquet").to_pylist()
    row = next(r for r in rows if r["source"] == "published" and r["kind"] == "benchmark")
    assert (row["protocol"], row["data"], row["max_total_tokens"]) == ("paper", "a/b", 8192)
    assert (row["grader_version"], row["temperature"], row["k"]) == ("any of several", 0.6, 1)
    assert (row["dtype"], row["seed"], row["seeds"]) == ("bfloat16", 42, "counted")
    assert {r["data"] for r in rows if r["source"] == "measured" and r["kind"] == "benchmark"} == {"a/b"}
    html = (inputs.output / "site/index.html").read_text()
    for detail in ("<dt>Protocol</dt><dd>paper</dd>", "<dt>Data</dt><dd>a/b</dd>", "8,192 with the prompt"):
        assert detail in html


def test_without_published_numbers_in_a_column_nothing_is_marked(two: ReportInputs) -> None:
    build(two)
    rows = pq.read_table(two.output / "tables" / "scores.parquet").to_pylist()
    assert all(row["published_differences"] == [] for row in rows)
    assert "‖" not in (two.output / "leaderboard.md").read_text()


def second_grader(inputs: ReportInputs, outcomes: dict[str, list[list[str]]]) -> ReportInputs:
    """Verdicts of a second grader, model by model: outcomes of each question's samples."""
    models = []
    for model in inputs.models:
        result = model.results["math500"]
        table = pq.read_table(result.verdicts)
        flat = [outcome for of_question in outcomes[model.label] for outcome in of_question]
        table = table.set_column(3, table.schema.field("outcome"), [flat])
        path = result.verdicts.with_name("second.parquet")
        pq.write_table(table, path)
        result = result.model_copy(update={"others": {"math-verify 9": path}})
        models.append(model.model_copy(update={"results": {"math500": result}}))
    return inputs.model_copy(update={"models": tuple(models)})


def test_a_second_graders_score_stands_beside_the_score(two: ReportInputs) -> None:
    # Our grader: base 1, 1; other 1, 0.
    inputs = second_grader(two, {"base": [["incorrect"], ["correct"]], "other": [["incorrect"], ["correct"]]})
    build(inputs)
    rows = {(r["label"], r["kind"]): r for r in pq.read_table(inputs.output / "tables" / "scores.parquet").to_pylist()}
    for label, own, any_of in (("base", 1.0, 1.0), ("other", 0.5, 1.0)):
        for kind in ("benchmark", "average"):
            row = rows[label, kind]
            assert row["avg_at_k"] == own
            found = {other["grader"]: other["avg_at_k"] for other in row["other_scores"]}
            assert found == {"math-verify 9": 0.5, "any of the graders": any_of}
            assert all(o["low"] <= o["avg_at_k"] <= o["high"] for o in row["other_scores"])
    text = (inputs.output / "leaderboard.md").read_text()
    section = text.split("## The same samples by other graders")[1]
    assert "| other | math-verify 9 | 50.0 (" in section
    assert "| other | any of the graders | 100.0 (" in section
    assert "<dt>By math-verify 9</dt><dd>50.0 (" in (inputs.output / "site/index.html").read_text()


def test_any_of_the_graders_counts_the_score_too(two: ReportInputs) -> None:
    """Also if a further grader has the version of the benchmark's own."""
    inputs = second_grader(two, {"base": [["incorrect"], ["incorrect"]], "other": [["incorrect"], ["correct"]]})
    own = inputs.models[0].results["math500"].protocol.grader_version
    models = []
    for model in inputs.models:
        result = model.results["math500"]
        renamed = result.model_copy(update={"others": {own: result.others["math-verify 9"]}})
        models.append(model.model_copy(update={"results": {"math500": renamed}}))
    inputs = inputs.model_copy(update={"models": tuple(models)})
    build(inputs)
    rows = pq.read_table(inputs.output / "tables" / "scores.parquet").to_pylist()
    found = {r["label"]: [o["avg_at_k"] for o in r["other_scores"]] for r in rows if r["kind"] == "benchmark"}
    assert found == {"base": [0.0, 1.0], "other": [0.5, 1.0]}


def test_a_second_graders_verdicts_on_other_samples_are_an_error(two: ReportInputs) -> None:
    inputs = second_grader(two, {"base": [["incorrect"], ["correct"]], "other": [["incorrect"], ["correct"]]})
    path = inputs.models[0].results["math500"].others["math-verify 9"]
    pq.write_table(pq.read_table(path).slice(1), path)
    with pytest.raises(DataError, match="the verdicts of math-verify 9 are on other samples"):
        build(inputs)
