"""The board and comparisons over stores that were made up."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from bench.stores import MadeUp, drawn
from benchmarks.catalog.board import Board, Section, make_board
from benchmarks.catalog.compare import Comparison, compare_models
from benchmarks.catalog.paired import ALPHA, BenchmarkCounts, not_distinguishable
from benchmarks.catalog.records import Records
from benchmarks.significance import compare, holm, sign_flip_exact
from hpt_core.errors import ConfigError
from tasks.execution.catalog import fill

SUITES = {"aime24": (30, 4), "math500": (120, 1), "gpqa_diamond": (60, 1), "arc_challenge": (50, 1)}


def answers(seed: int, chance: float, suites: Any = SUITES) -> dict[str, Any]:
    generator = np.random.default_rng(seed)
    return {name: drawn(generator, count, k, chance) for name, (count, k) in suites.items()}


@pytest.fixture
def made(tmp_path: Path) -> MadeUp:
    return MadeUp(tmp_path / "runs")


def board(made: MadeUp, pipeline: str | None = None) -> Board:
    return make_board(fill(made.store), pipeline)


def cells(section: Section, label: str) -> dict[str, Any]:
    (line,) = [line for line in section.lines if line.label == label]
    return {column.title: cell for column, cell in zip(section.columns, line.cells, strict=True)}


def test_averages_are_the_mean_of_whole_benchmarks(made: MadeUp) -> None:
    made.run("demo", {"hpt": answers(1, 0.5), "sft": answers(2, 0.3)})
    (section,) = board(made).sections
    assert [c.title for c in section.columns] == [
        "average in", "average out", "AIME 2024", "MATH-500", "GPQA-Diamond", "ARC-Challenge",
    ]  # fmt: skip
    found = cells(section, "hpt")
    assert found["average in"].value == pytest.approx((found["AIME 2024"].value + found["MATH-500"].value) / 2)
    assert found["average in"].low < found["average in"].value < found["average in"].high
    assert [line.label for line in section.lines] == ["hpt", "sft"], "the best first"


def test_other_benchmarks_have_an_average_of_their_own_behind_the_others(made: MadeUp) -> None:
    made.run("demo", {"hpt": answers(1, 0.5), "sft": answers(2, 0.3)})
    tables = fill(made.store)
    mine = {"math500", "gpqa_diamond"}
    scores = [
        row | {"group": "other" if row["benchmark"] in mine else row["group"]} for row in tables.scores.to_pylist()
    ]
    tables = replace(tables, scores=pa.Table.from_pylist(scores, tables.scores.schema))
    (section,) = make_board(tables).sections
    assert [c.title for c in section.columns] == [
        "average other", "AIME 2024", "ARC-Challenge", "MATH-500", "GPQA-Diamond",
    ]  # fmt: skip
    found = cells(section, "hpt")
    assert found["average other"].value == pytest.approx((found["MATH-500"].value + found["GPQA-Diamond"].value) / 2)
    averages = compare_models(Records(made.store.root), tables, "hpt", "sft").averages
    assert [average.group for average in averages] == ["other"]


def test_a_model_without_a_benchmark_has_no_average(made: MadeUp) -> None:
    some = {name: value for name, value in answers(2, 0.9).items() if name != "aime24"}
    made.run("demo", {"hpt": answers(1, 0.5), "part": some})
    (section,) = board(made).sections
    assert cells(section, "part")["average in"] is None
    assert cells(section, "part")["average out"] is not None
    assert section.lines[-1].label == "part", "not ranked above one with all benchmarks, although its scores are higher"


def test_a_limited_run_is_labeled_and_never_ranked_among_whole_ones(made: MadeUp) -> None:
    made.run("demo", {"hpt": answers(1, 0.5), "sft": answers(2, 0.3)})
    few = answers(3, 0.9, {"aime24": (6, 4), "math500": (6, 1)})
    made.run("trial", {"hpt": few}, whole={"aime24": 30, "math500": 120}, evaluate={"limit": 6})
    whole, limited = board(made).sections
    assert cells(limited, "hpt")["AIME 2024"].partial == (6, 30)
    assert cells(limited, "hpt")["average in"].partial == (12, 150)
    assert {line.pipeline for line in whole.lines} == {"demo"}
    assert all(cell.partial is None for line in whole.lines for cell in line.cells if cell)


def test_without_a_record_of_runs_limited_scores_stay_out_of_marks_and_averages(made: MadeUp) -> None:
    """All are then in one section, because nothing tells what the evaluations had set."""
    made.run("demo", {"hpt": answers(1, 0.5), "sft": answers(2, 0.45)})
    few = answers(3, 0.95, {"aime24": (6, 4), "math500": (6, 1)})
    made.run("trial", {"other": few}, whole={"aime24": 30, "math500": 120})
    for file in (made.store.root / "history").iterdir():
        file.unlink()
    (section,) = board(made).sections
    other = cells(section, "other")
    assert (other["AIME 2024"].partial, other["AIME 2024"].differs, other["AIME 2024"].best) == ((6, 30), True, False)
    assert cells(section, "hpt")["AIME 2024"].best


def test_another_protocol_takes_no_mark_from_the_others(made: MadeUp) -> None:
    """Two of four models with twice the samples: marked themselves, ranked nowhere."""
    made.run("demo", {f"m{i}": answers(i, 0.5) for i in range(3)})
    made.run("demo", {"twice": {"aime24": drawn(np.random.default_rng(9), 30, 8, 0.9)}}, version="2")
    (section,) = board(made).sections
    twice = cells(section, "twice")["AIME 2024"]
    assert (twice.differs, twice.best) == (True, False)
    assert sum(cells(section, f"m{i}")["AIME 2024"].best for i in range(3)) >= 1


def test_scores_of_an_earlier_model_are_not_mixed_with_those_of_the_latest(made: MadeUp) -> None:
    made.run("nightly", {"hpt": answers(1, 0.5)})
    made.run("nightly", {"hpt": {"math500": answers(2, 0.5)["math500"]}}, version="2")
    (section,) = board(made).sections
    (line,) = section.lines
    assert [c.benchmark for c, cell in zip(section.columns, line.cells, strict=True) if cell] == ["math500"]


def test_nothing_solved_and_one_model_alone_have_no_mark(made: MadeUp) -> None:
    nothing = {name: np.zeros((count, k), bool) for name, (count, k) in SUITES.items()}
    made.run("demo", {"a": nothing, "b": nothing})
    made.run("alone", {"c": answers(1, 0.5)}, evaluate={"k": 1})
    assert not any(cell.best for s in board(made).sections for line in s.lines for cell in line.cells if cell)


def test_failures_are_named_until_the_stage_is_done(made: MadeUp) -> None:
    made.run("demo", {"hpt": answers(1, 0.5)}, failed={"train.sft": "out of memory"})
    (failure,) = board(made).failures
    assert (failure.pipeline, failure.stage, failure.state, failure.text) == (
        "demo", "train.sft", "failed", "out of memory",
    )  # fmt: skip
    assert board(made, "other").failures == ()
    made.run("demo", {"sft": answers(2, 0.5)}, version="2")
    assert board(made).failures == ()


def test_an_empty_store_has_an_empty_board(made: MadeUp) -> None:
    assert board(made) == Board((), ())


@pytest.mark.parametrize("k", [1, 4])
def test_marks_are_those_of_the_exact_test(k: int) -> None:
    """Whatever the bounds settle without computing it."""
    generator = np.random.default_rng(k)
    levels = [0.5, 0.5, 0.48, 0.42, 0.38, 0.3, 0.2, 0.05]
    for _ in range(5):
        correct = np.stack([drawn(generator, 80, k, level).sum(axis=1) for level in levels])
        best = int(correct.sum(axis=1).argmax())
        found = not_distinguishable([BenchmarkCounts(correct, k)], best)
        others = [row for row in range(len(levels)) if row != best]
        exact = holm([sign_flip_exact(correct[best] - correct[row]) for row in others])
        assert found.tolist() == [row == best or exact[others.index(row)] >= ALPHA for row in range(len(levels))]


def test_the_average_of_unequal_benchmarks_is_tested_with_their_weights() -> None:
    """A model that is better on the small benchmark and worse on the large one, by the same mean difference."""
    small, large = np.zeros((2, 10), np.int64), np.zeros((2, 1000), np.int64)
    small[0, :8] = 1
    large[1, :800] = 1
    assert not_distinguishable([BenchmarkCounts(small, 1), BenchmarkCounts(large, 1)], 0).tolist() == [True, True]
    assert not_distinguishable([BenchmarkCounts(large, 1)], 1).tolist() == [False, True]


@pytest.fixture
def compared(made: MadeUp) -> Comparison:
    made.run("demo", {"hpt": answers(1, 0.6), "sft": answers(2, 0.4)})
    return compare_models(Records(made.store.root), fill(made.store), "hpt", "sft")


def test_a_comparison_is_paired_and_corrected(made: MadeUp, compared: Comparison) -> None:
    hpt, sft = answers(1, 0.6), answers(2, 0.4)
    for pair in compared.pairs:
        ours, theirs = (
            {f"q{i:04}": (int(n), found.shape[1]) for i, n in enumerate(found.sum(axis=1))}
            for found in (hpt[pair.benchmark], sft[pair.benchmark])
        )
        assert pair.found == compare(ours, theirs)
        assert pair.protocol_differences == ()
        assert pair.shares == (pytest.approx(hpt[pair.benchmark].mean()), pytest.approx(sft[pair.benchmark].mean()))
    assert [pair.p_holm for pair in compared.pairs] == holm([pair.found.p_value for pair in compared.pairs])
    assert [average.group for average in compared.averages] == ["in", "out"]
    assert (compared.first.name, compared.second.name) == ("demo/hpt", "demo/sft")


def test_sql_and_comparison_name_the_same_questions(made: MadeUp, compared: Comparison) -> None:
    folder = made.store.root / "catalog"
    found = duckdb.sql(f"""
        with solved as (
            select s.label, s.benchmark, q.question_id, 2 * q.correct > q.k as solved
            from '{folder}/scores.parquet' s join '{folder}/question_scores/**/*.parquet' q using (record)
            where s.latest
        )
        select a.benchmark, list(a.question_id order by a.question_id)
        from solved a join solved b using (benchmark, question_id)
        where a.label = 'hpt' and b.label = 'sft' and a.solved and not b.solved
        group by a.benchmark
    """).fetchall()
    assert dict(found) == {pair.benchmark: list(pair.only_first) for pair in compared.pairs}


def test_models_of_two_pipelines_are_told_apart(made: MadeUp) -> None:
    made.run("demo", {"hpt": answers(1, 0.6)})
    hashes = made.run("other", {"hpt": answers(2, 0.6)})
    records, tables = Records(made.store.root), fill(made.store)
    with pytest.raises(ConfigError, match="'hpt' names 2 models: demo/hpt, other/hpt"):
        compare_models(records, tables, "hpt", "demo/hpt")
    found = compare_models(records, tables, "demo/hpt", hashes["hpt"][:8])
    assert found.second.name == "other/hpt"
    with pytest.raises(ConfigError, match=r"no model .htp. has a score.*did you mean .hpt."):
        compare_models(records, tables, "htp", "demo/hpt")


def test_a_difference_of_protocols_is_named(made: MadeUp) -> None:
    made.run("demo", {"hpt": {"aime24": drawn(np.random.default_rng(1), 30, 4, 0.5)}})
    made.run("demo", {"sft": {"aime24": drawn(np.random.default_rng(2), 30, 8, 0.5)}}, version="2")
    found = compare_models(Records(made.store.root), fill(made.store), "hpt", "sft")
    assert found.pairs[0].protocol_differences == ("k",)
    assert found.averages == ()


def test_the_board_reads_no_shard(made: MadeUp, monkeypatch: pytest.MonkeyPatch) -> None:
    """So its cost does not follow the number of models."""
    made.run("demo", {"hpt": answers(1, 0.6), "sft": answers(2, 0.4)})
    tables = fill(made.store)
    monkeypatch.setattr(pq, "ParquetFile", None)
    monkeypatch.setattr(pq, "read_table", None)
    assert len(make_board(tables).sections) == 1


def test_numbers_with_questions_of_the_training_data_are_marked_and_never_the_best(made: MadeUp) -> None:
    made.run("demo", {"hpt": {"aime24": np.ones((10, 2), bool)}, "sft": {"aime24": np.zeros((10, 2), bool)}})
    made.run("other", {"grpo": {"aime24": np.ones((10, 2), bool)}})
    (section,) = board(made).sections
    shown = {line.label: line.cells[0] for line in section.lines}
    assert {label: cell and (cell.best, cell.overlap) for label, cell in shown.items()} == {
        "hpt": (True, None),
        "sft": (False, None),
        "grpo": (True, None),
    }
    made.overlap("demo", "aime24", [0.5, 0.2, 0.19, *[0.0] * 7])
    (section,) = board(made).sections
    shown = {line.label: line.cells[0] for line in section.lines}
    assert {label: cell and (cell.best, cell.overlap) for label, cell in shown.items()} == {
        "hpt": (False, 0.2),
        "sft": (False, 0.2),
        "grpo": (False, None),
    }, "a model alone is not the best of anything"
