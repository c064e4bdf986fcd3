"""Scores with and without questions that overlap training data."""

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


def test_a_clean_score_leaves_out_all_training_data_of_the_chain(trained: Make) -> None:
    rows = scores(trained())
    sft, grpo = rows["sft", "benchmark"], rows["grpo", "benchmark"]
    # q1 overlaps a training question, q1 and q4 overlap demonstrations: trained on is what stands in either.
    assert (sft["overlapping_questions"], sft["overlapping_in_demonstrations"], sft["avg_at_k"]) == (2, 2, 0.5)
    assert sft["avg_at_k_clean"] == 0.5
    assert (sft["clean_low"], sft["clean_high"]) == pytest.approx(interval([0, 1]))
    assert (grpo["overlapping_questions"], grpo["overlapping_in_demonstrations"]) == (3, 2)
    assert grpo["avg_at_k_clean"] == 0.0
    assert (sft["overlap_share"], sft["overlap_ngram"]) == (0.2, 13)
    # The average of one benchmark is that benchmark.
    assert rows["sft", "average"]["avg_at_k_clean"] == sft["avg_at_k_clean"]
    assert rows["sft", "average"]["overlapping_questions"] == 2


@pytest.mark.parametrize(("least", "questions"), [(0.05, 3), (0.25, 2), (0.26, 1), (1.0, 1)])
def test_a_question_overlaps_from_the_threshold_share_of_ngrams(
    trained: Make, tmp_path: Path, least: float, questions: int
) -> None:
    # q1 shares a stock phrase; q3 is held in demonstrations alone.
    found = overlap(tmp_path / "other", "data.a", {"q1": 0.06, "q2": 0.25, "q3": 0, "q4": 0}, {"q3": 1.0})
    rows = scores(trained(contamination=(found,), overlap_share=least))
    assert rows["sft", "benchmark"]["overlapping_questions"] == questions
    assert rows["sft", "benchmark"]["overlap_share"] == least


def test_unchecked_models_are_null_and_clean_models_keep_their_score(trained: Make, tmp_path: Path) -> None:
    none = {f"q{i}": 0.0 for i in range(1, 5)}
    rows = scores(trained(contamination=(overlap(tmp_path / "other", "data.a", none),)))
    columns = (
        *("overlapping_questions", "overlapping_in_demonstrations", "avg_at_k_clean", "clean_low", "clean_high"),
        *("overlap_share", "overlap_ngram"),
    )
    # Nothing is known of what the base model was trained on, and data.b was not checked.
    for label in ("base", "grpo"):
        for kind in ("benchmark", "average"):
            assert [rows[label, kind][c] for c in columns] == [None] * 7
    sft = rows["sft", "benchmark"]
    assert (sft["overlapping_questions"], sft["avg_at_k_clean"]) == (0, sft["avg_at_k"])
    assert (sft["clean_low"], sft["clean_high"]) == (sft["interval_low"], sft["interval_high"])


def test_there_is_no_clean_score_if_every_question_overlaps(trained: Make, tmp_path: Path) -> None:
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
    note = "MATH-500: 2 of 4 questions (without them sft 50.0); MATH-500: 3 of 4 questions (without them grpo 0.0)"
    assert " 50.0 § (" in text and note in text
    assert note in html and '<span class="mark">§</span>' in html
    ends = " – ".join(f"{100 * end:.1f}" for end in interval([0, 1]))
    assert f"2 of 4 questions, 50.0 without them ({ends})" in html
    assert "20 % of a question&#39;s runs of 13 words" in html
    # All three reached the same, but two were trained on questions: the third has nothing to be compared with.
    assert "**" not in text and html.count('class="number best"') == 0
    shown = terminal_table(inputs.output)
    assert [row[1].split("\n")[0] for row in shown.rows] == ["50.0", "50.0§", "50.0§"]
    assert any(note in line for line in shown.notes)


def table(inputs: ReportInputs, name: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = pq.read_table(inputs.output / "tables" / f"{name}.parquet").to_pylist()
    return found


def test_comparisons_count_questions_that_overlap_the_data_of_either(trained: Make) -> None:
    inputs = trained()
    build(inputs)
    found = {(r["model"], r["kind"]): r["overlapping_questions"] for r in table(inputs, "comparisons")}
    assert found == {
        ("train.sft", "benchmark"): 2,
        ("train.sft", "average"): 2,
        ("train.grpo", "benchmark"): 3,
        ("train.grpo", "average"): 3,
    }
    text, html = (inputs.output / "leaderboard.md").read_text(), (inputs.output / "site/index.html").read_text()
    assert "| sft | +0 / −0 § |" in text
    sentence = "§ Some of the questions overlap the training data of either model."
    assert sentence in text and html.count(f'<p class="notes">{sentence}</p>') == 2
    assert "<dt>In training data</dt><dd>3 of the questions, for either model</dd>" in html
    # Two averages and two numbers of the board, their two differences each, all six squares.
    assert html.count('<span class="mark">§</span>') == 4 + 4 + 6


def test_each_difficulty_counts_its_own_overlaps(trained: Make) -> None:
    inputs = trained()
    build(inputs)
    # grpo tells how hard the questions of the other two are: q1 and q3 easy, q2 and q4 hard.
    found = {(r["model"], r["other"], r["difficulty"]): r["overlapping_questions"] for r in table(inputs, "exclusive")}
    for pair in (("model.base", "train.sft"), ("train.sft", "model.base")):
        assert [found[*pair, band] for band in ("easy", "medium", "hard")] == [1, 0, 1]


def test_an_unchecked_comparison_has_no_mark(trained: Make) -> None:
    inputs = trained(contamination=())
    build(inputs)
    for name in ("comparisons", "exclusive"):
        assert {r["overlapping_questions"] for r in table(inputs, name)} == {None}
    assert "§" not in (inputs.output / "leaderboard.md").read_text()
    html = (inputs.output / "site/index.html").read_text()
    assert "§" not in html and "In training data" not in html


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
