import json
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st
from markdown_it import MarkdownIt

import benchmarks.site
from benchmarks.report.board import make_board
from benchmarks.report.build import build
from benchmarks.report.inputs import ReportInputs
from benchmarks.report.markdown import escape
from benchmarks.report.schemas import SCORES
from benchmarks.report.scores import _mark_best
from benchmarks.report.summary import terminal_table
from hpt_core.errors import DataError
from hpt_core.evaluation.metrics import CUT
from hpt_core.rollout.base import Sampling
from hpt_core.schemas import SAMPLES

Make = Callable[..., ReportInputs]


def table(text: str) -> list[list[str]]:
    """The leaderboard itself, the first table."""
    text = text.split("\n## ")[0]
    return [[c.strip() for c in line.strip("|").split(" | ")] for line in text.splitlines() if line.startswith("| ")]


def test_markdown_shows_every_number_with_its_interval(hand_inputs: Make) -> None:
    inputs = hand_inputs(notes=("A note.",))
    build(inputs)
    text = (inputs.output / "leaderboard.md").read_text()
    head, base, hpt = table(text)
    assert text.startswith("# Hand-made\n")
    assert "A note." in text
    assert "Pipeline tiny, measured until 2026-01-31 06:00 UTC, protocol benchmark." in text
    assert head[:4] == ["Model", "Source", "In distribution average", "Out of distribution average"]
    assert head[4:] == ["AIME 2024 avg@2", "MATH-500 pass@1", "GPQA-Diamond pass@1"]
    assert base[:2] == ["base", "measured"]
    assert base[4].startswith("**25.0** ("), "on two questions, chance explains the difference"
    assert hpt[4].startswith("**75.0** (")
    assert "† Not measured under the report's protocol" in text
    assert "GPQA-Diamond: 2 of 198 questions." in text


def test_ties_are_all_marked_and_the_out_average_too(hand_inputs: Make) -> None:
    inputs = hand_inputs()
    build(inputs)
    _, base, hpt = table((inputs.output / "leaderboard.md").read_text())
    assert base[3].startswith("**50.0** †")
    assert hpt[3].startswith("**50.0** †")


def test_only_what_a_test_does_not_tell_from_the_best_is_marked(hand_inputs: Make) -> None:
    solved = {"hpt": 90, "luffy": 85, "sft": 40, "other": 95, "trained": 99, "alike": 99}
    suite = SimpleNamespace(name="math500", group="in", title="MATH-500")
    inputs: Any = SimpleNamespace(suites=[suite])

    def marked(solved: dict[str, int]) -> list[str]:
        measured: Any = [
            SimpleNamespace(
                model=SimpleNamespace(name=name), suite=suite, counts={f"q{i:03}": (int(i < n), 1) for i in range(100)}
            )
            for name, n in solved.items()
        ]
        front = {"column": 0, "group": "in", "differences": [], "warnings": [], "overlapping_questions": 0}
        rows = [{**front, "model": name, "avg_at_k": n / 100} for name, n in solved.items()]
        for row in rows:
            row["differences"] = ["unlike hpt: seed"] if row["model"] == "other" else []
            row["overlapping_questions"] = 5 if row["model"] == "trained" else None
            row["warnings"] = ["all alike"] if row["model"] == "alike" else []
        _mark_best(rows, inputs, measured)
        return [str(row["model"]) for row in rows if row["best"]]

    assert marked(solved) == ["hpt", "luffy"]
    assert marked({"hpt": 90, "sft": 40}) == ["hpt"]
    assert marked({"hpt": 0, "sft": 0}) == [], "nobody solved anything"
    assert marked({"hpt": 90, "other": 40}) == [], "nothing to compare with"


def test_no_number_is_best_if_protocols_differ(hand_inputs: Make) -> None:
    inputs = hand_inputs()
    base, hpt = inputs.models
    result = hpt.results["aime24"]
    protocol = result.protocol.model_copy(update={"sampling": Sampling(temperature=1.0, top_p=0.95, max_tokens=8192)})
    changed = {**hpt.results, "aime24": result.model_copy(update={"protocol": protocol})}
    inputs = inputs.model_copy(update={"models": (base, hpt.model_copy(update={"results": changed}))})
    build(inputs)
    text = (inputs.output / "leaderboard.md").read_text()
    _, _, row = table(text)
    assert row[4].startswith("75.0 †")
    assert row[5].startswith("**75.0**")
    assert row[2].startswith("75.0 †")
    assert "AIME 2024: temperature 1 instead of 0.6 (hpt)" in text


def test_published_numbers_are_never_best_and_carry_no_interval(hand_inputs: Make) -> None:
    inputs = hand_inputs(published="qwen2.5-math-7b")
    build(inputs)
    text = (inputs.output / "leaderboard.md").read_text()
    rows = {(r[0], r[1]): r for r in table(text)}
    assert rows["HPT", "published"] == ["HPT", "published", "61.1 ‡", "42.9 ‡", "33.0", "89.2", "42.9"]
    assert "‡ Recomputed from the printed scores" in text
    assert "Qwen2.5-Math-7B in Towards a Unified View" in text


def test_the_terminal_table_shows_the_same_numbers(hand_inputs: Make) -> None:
    inputs = hand_inputs(published="qwen2.5-math-7b")
    build(inputs)
    found = terminal_table(inputs.output)
    assert found.headers == [
        "model",
        "average\nin",
        "average\nout",
        "AIME 2024\navg@2",
        "MATH-500\npass@1",
        "GPQA-Diamond\npass@1",
    ]
    assert len(found.rows) == 2 + 7
    assert all(len(row) == len(found.headers) for row in found.rows)
    assert found.rows[1][3].startswith("75.0\n")
    assert found.rows[-1][:2] == ["HPT\npublished", "61.1‡"]
    assert any("2 of 198" in note for note in found.notes)


def test_responses_that_are_all_alike_are_marked_everywhere(hand_inputs: Make) -> None:
    inputs = hand_inputs(published="qwen2.5-math-7b")
    for shard in sorted(inputs.models[1].results["aime24"].samples.iterdir()):
        rows = pq.read_table(shard).to_pylist()
        alike = [row | {"response": "!!!", "finish_reason": "length"} for row in rows]
        pq.write_table(pa.Table.from_pylist(alike, SAMPLES), shard)
    build(inputs)
    text = (inputs.output / "leaderboard.md").read_text()
    _, base, hpt, *_ = table(text)
    assert "⚠" not in "".join(base)
    assert hpt[4].startswith("75.0 ⚠ (")  # the highest number, but not marked as the best
    assert hpt[5].startswith("**75.0** (")
    note = (
        "⚠ Check the model and its prompt before you use this number: AIME 2024: all 4 responses are identical (hpt); "
        "AIME 2024: all 4 responses are cut at the token limit (hpt)."
    )
    assert note in text
    assert note in terminal_table(inputs.output).notes
    page = (inputs.output / "site" / "index.html").read_text()
    assert "⚠ Check the model and its prompt" in page and "all 4 responses are identical" in page


def test_a_number_with_many_truncated_responses_is_marked_everywhere(hand_inputs: Make) -> None:
    inputs = hand_inputs()
    build(inputs)
    text = (inputs.output / "leaderboard.md").read_text()
    _, base, hpt = table(text)
    assert [place for place, cell in enumerate(base) if cell.endswith(", cut 25%)")] == [2, 4], "and the average"
    assert "cut" not in "".join(hpt)
    shown = terminal_table(inputs.output)
    assert [place for place, cell in enumerate(shown.rows[0]) if cell.endswith("\ncut 25%")] == [1, 3]
    page = (inputs.output / "site" / "index.html").read_text()
    assert page.count('<span class="interval">cut 25%</span>') == 2
    note = "cut: share of responses that ended at the token limit."
    assert note in text and note in page and any(line.startswith(note) for line in shown.notes)


def test_few_truncated_responses_are_not_marked(hand_inputs: Make) -> None:
    build(inputs := hand_inputs())
    rows = pq.read_table(inputs.output / "tables/scores.parquet").to_pylist()
    for share, shown in ((0.049, {""}), (0.05, {"cut 5%"})):
        board = make_board(pa.Table.from_pylist([row | {"truncated_share": share} for row in rows], SCORES))
        assert {cell.cut for line in board.lines for cell in line.cells if cell} == shown


def test_the_site_marks_truncated_responses_from_the_same_share() -> None:
    script = (Path(benchmarks.site.__file__).parent / "static/site.js").read_text()
    assert re.findall(r"const CUT = ([0-9.]+);", script) == [str(CUT)]


def test_a_missing_report_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"scores\.parquet"):
        terminal_table(tmp_path)


@given(st.text(st.characters(codec="utf-8", exclude_categories=["C", "Z"]), min_size=1))
def test_escaped_text_is_shown_unchanged(text: str) -> None:
    html = MarkdownIt().enable("table").render(f"| x |\n|---|\n| {escape(text)} |\n")
    (cell,) = re.findall(r"<td>(.*?)</td>", html, re.DOTALL)
    shown = cell
    for entity, character in (("&lt;", "<"), ("&gt;", ">"), ("&quot;", '"'), ("&amp;", "&")):
        shown = shown.replace(entity, character)
    assert shown == text
    assert html.count("<td>") == 1


def test_the_worker_builds_from_a_spec_file(hand_inputs: Make, tmp_path: Path) -> None:
    inputs = hand_inputs()
    spec = tmp_path / "spec.json"
    spec.write_text(inputs.model_dump_json())
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.report.build", str(spec)], capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, done.stderr
    events = [json.loads(line) for line in done.stdout.splitlines()]
    assert events[-1] == {"event": "progress", "done": 6, "total": 6, "unit": "scored results", "text": ""}
    assert (inputs.output / "site/index.html").is_file()


def test_the_worker_names_missing_files(hand_inputs: Make, tmp_path: Path) -> None:
    inputs = hand_inputs()
    next(inputs.models[0].results["aime24"].samples.iterdir()).unlink()
    spec = tmp_path / "spec.json"
    spec.write_text(inputs.model_dump_json())
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.report.build", str(spec)], capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 2
    event = json.loads(done.stdout.splitlines()[-1])
    assert event["event"] == "error"
    assert "part-00000.parquet is missing" in event["cause"]
    assert not (inputs.output / "leaderboard.md").exists()
    assert not (inputs.output / "tables" / "samples.parquet").exists()


def test_a_difference_of_several_columns_is_told_once(hand_inputs: Make) -> None:
    inputs = hand_inputs()
    suites = tuple(
        suite.model_copy(update={"rules": suite.rules.model_copy(update={"max_total_tokens": 8192})})
        for suite in inputs.suites
    )
    build(inputs.model_copy(update={"suites": suites}))
    text = (inputs.output / "leaderboard.md").read_text()
    told = "no limit on prompt and response together instead of 8192 tokens with the prompt"
    assert f"AIME 2024, MATH-500, GPQA-Diamond: {told}" in text
    assert text.count(told) == 1
