"""Scores with and without the questions that stand in training data."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from benchmarks.report.build import build
from benchmarks.report.inputs import ContaminationResult, ReportInputs
from benchmarks.report.schemas import CONTAMINATION
from benchmarks.report.summary import terminal_table
from hpt_core.evaluation.metrics import interval
from hpt_core.schemas import CONTAMINATION as FOUND

Make = Callable[..., ReportInputs]
RIGHT, WRONG = ["correct"], ["incorrect"]


def overlap(folder: Path, data: str, questions: Mapping[str, float], demonstrations: Mapping[str, float] = {}) -> Any:
    """A contamination table on disk: shares by question."""
    rows = [
        {
            "question_id": name,
            "ngrams": 4,
            "question_overlap": share,
            "demonstration_overlap": demonstrations.get(name, 0.0),
            "question_match": "t1" if share else None,
        }
        for name, share in questions.items()
    ]
    folder.mkdir(exist_ok=True)
    path = folder / f"{data}.parquet"
    pq.write_table(pa.Table.from_pylist(rows, FOUND), path)
    return ContaminationResult(data=data, benchmark="math500", path=path)


@pytest.fixture
def trained(answered: Make, tmp_path: Path) -> Make:
    """`base` was trained on nothing, `sft` on data.a, `grpo` (made from sft) on data.b and data.a."""

    def make(**changes: Any) -> ReportInputs:
        outcomes = [RIGHT, WRONG, RIGHT, WRONG]
        named = {f"q{i}": found for i, found in enumerate(outcomes, 1)}
        inputs = answered(dict.fromkeys(("model.base", "train.sft", "train.grpo"), named))
        data = {"train.sft": ("data.a",), "train.grpo": ("data.b", "data.a")}
        models = [m.model_copy(update={"trained_on": data.get(m.name, ())}) for m in inputs.models]
        found = (
            overlap(tmp_path, "data.a", {"q1": 0.25, "q2": 0, "q3": 0, "q4": 0}, {"q1": 1.0, "q4": 0.5}),
            overlap(tmp_path, "data.b", {"q1": 0, "q2": 0, "q3": 1.0, "q4": 0}),
        )
        return inputs.model_copy(update={"models": tuple(models), "contamination": found, **changes})

    return make


def scores(inputs: ReportInputs) -> dict[tuple[str, str], dict[str, Any]]:
    build(inputs)
    rows = pq.read_table(inputs.output / "tables" / "scores.parquet").to_pylist()
    return {(row["label"], row["kind"]): row for row in rows}


def test_a_score_is_told_without_what_the_model_and_those_before_it_were_trained_on(trained: Make) -> None:
    rows = scores(trained())
    sft, grpo = rows["sft", "benchmark"], rows["grpo", "benchmark"]
    assert (sft["overlapping_questions"], sft["overlapping_in_demonstrations"], sft["avg_at_k"]) == (1, 2, 0.5)
    assert sft["avg_at_k_clean"] == pytest.approx(1 / 3)
    assert (sft["clean_low"], sft["clean_high"]) == pytest.approx(interval([0, 1, 0]))
    assert (grpo["overlapping_questions"], grpo["overlapping_in_demonstrations"]) == (2, 2)
    assert grpo["avg_at_k_clean"] == 0.0
    # The average of one benchmark is that benchmark.
    assert rows["sft", "average"]["avg_at_k_clean"] == sft["avg_at_k_clean"]
    assert rows["sft", "average"]["overlapping_questions"] == 1


def test_what_was_not_checked_is_null_and_what_is_clean_keeps_its_score(trained: Make, tmp_path: Path) -> None:
    none = {f"q{i}": 0.0 for i in range(1, 5)}
    rows = scores(trained(contamination=(overlap(tmp_path / "other", "data.a", none),)))
    columns = ("overlapping_questions", "overlapping_in_demonstrations", "avg_at_k_clean", "clean_low", "clean_high")
    # Nothing is known of what the base model was trained on, and data.b was not checked.
    for label in ("base", "grpo"):
        for kind in ("benchmark", "average"):
            assert [rows[label, kind][c] for c in columns] == [None] * 5
    sft = rows["sft", "benchmark"]
    assert (sft["overlapping_questions"], sft["avg_at_k_clean"]) == (0, sft["avg_at_k"])
    assert (sft["clean_low"], sft["clean_high"]) == (sft["interval_low"], sft["interval_high"])


def test_where_every_question_overlaps_no_score_is_left(trained: Make, tmp_path: Path) -> None:
    every = {f"q{i}": 1.0 for i in range(1, 5)}
    inputs = trained(contamination=(overlap(tmp_path / "other", "data.a", every),))
    rows = scores(inputs)
    assert rows["sft", "benchmark"]["overlapping_questions"] == 4
    assert rows["sft", "benchmark"]["avg_at_k_clean"] is None
    assert rows["sft", "average"]["avg_at_k_clean"] is None
    assert "4 of 4 questions (without them sft none left)" in (inputs.output / "leaderboard.md").read_text()


def test_overlaps_are_marked_everywhere(trained: Make) -> None:
    inputs = trained()
    build(inputs)
    text = (inputs.output / "leaderboard.md").read_text()
    html = (inputs.output / "site/index.html").read_text()
    note = "MATH-500: 1 of 4 questions (without them sft 33.3); MATH-500: 2 of 4 questions (without them grpo 0.0)"
    assert "50.0** §" in text and note in text
    assert note in html and '<span class="mark">§</span>' in html
    assert "1 of 4 questions, 33.3 without them (6.1 – 79.2)" in html
    shown = terminal_table(inputs.output)
    assert [row[2].split("[")[0].strip() for row in shown.rows] == ["50.0", "50.0§", "50.0§"]
    assert any(note in line for line in shown.notes)


def test_the_table_names_data_and_benchmark(trained: Make) -> None:
    inputs = trained()
    build(inputs)
    table = pq.read_table(inputs.output / "tables" / "contamination.parquet")
    assert table.schema.equals(CONTAMINATION)
    rows = table.to_pylist()
    assert [(r["data"], r["benchmark"], r["question_id"]) for r in rows][3:5] == [
        ("data.a", "math500", "q4"),
        ("data.b", "math500", "q1"),
    ]
    assert rows[0]["question_match"] == "t1"
