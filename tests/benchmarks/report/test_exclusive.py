"""Questions that one model solves and another does not."""

import random
from collections.abc import Callable
from fractions import Fraction
from itertools import permutations
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from benchmarks.report.build import build
from benchmarks.report.exclusive_view import against, matrices
from benchmarks.report.inputs import ReportInputs
from hpt_core.rollout.base import Sampling
from hpt_core.schemas import QUESTIONS

Make = Callable[..., ReportInputs]
RIGHT, WRONG = ["correct"], ["incorrect"]


def exclusive(inputs: ReportInputs) -> pa.Table:
    build(inputs)
    return pq.read_table(inputs.output / "tables" / "exclusive.parquet")


def counts(table: pa.Table, model: str, other: str, benchmark: str) -> dict[str, tuple[int, int, int]]:
    """Difficulty -> (questions, solved, exclusive)."""
    return {
        row["difficulty"]: (row["questions"], row["solved"], row["exclusive"])
        for row in table.to_pylist()
        if (row["model"], row["other"], row["benchmark"]) == (model, other, benchmark)
    }


def test_counts_in_both_directions_match_hand_computed_values(hand_inputs: Make) -> None:
    table = exclusive(hand_inputs())
    # Two models alone: nothing but themselves could tell the difficulty.
    assert counts(table, "train.hpt", "model.base", "math500") == {"all": (4, 3, 2)}
    assert counts(table, "model.base", "train.hpt", "math500") == {"all": (4, 1, 0)}
    # Question b is right in one of two samples: not more than half.
    assert counts(table, "train.hpt", "model.base", "aime24") == {"all": (2, 1, 1)}
    assert set(table.column("difficulty_by").to_pylist()) == {"none"}
    assert table.column("benchmark").to_pylist() == ["aime24"] * 2 + ["math500"] * 2 + ["gpqa_diamond"] * 2


@pytest.fixture
def four(answered: Make, tmp_path: Path) -> Make:
    """Four models on one benchmark; with families, its questions are told too."""
    outcomes = {
        "model.a": [RIGHT, WRONG, RIGHT, WRONG],
        "model.b": [RIGHT, RIGHT, RIGHT, WRONG],
        "model.c": [RIGHT, RIGHT, WRONG, WRONG],
        "model.d": [RIGHT, WRONG, WRONG, WRONG],
    }

    def make(families: dict[str, str] | None = None, **changes: Any) -> ReportInputs:
        inputs = answered(
            {name: {f"q{i}": found for i, found in enumerate(o, 1)} for name, o in outcomes.items()}, **changes
        )
        if families is None:
            return inputs
        path = tmp_path / "asked.parquet"
        rows = [
            {"question_id": name, "question": name, "gold": "1", "kind": "math", "family": family}
            for name, family in families.items()
        ]
        pq.write_table(pa.Table.from_pylist(rows, QUESTIONS), path)
        return inputs.model_copy(update={"suites": (inputs.suites[0].model_copy(update={"questions": path}),)})

    return make


def test_the_other_models_define_the_difficulty(four: Make) -> None:
    table = exclusive(four())
    # c and d judge for a and b: q1 is solved by both, q2 by one, q3 and q4 by none.
    assert counts(table, "model.b", "model.a", "math500") == {"easy": (1, 1, 0), "medium": (1, 1, 1), "hard": (2, 1, 0)}
    assert counts(table, "model.a", "model.b", "math500") == {"easy": (1, 1, 0), "medium": (1, 0, 0), "hard": (2, 1, 0)}
    # a and b judge for c and d: q1 and q3 by both, q2 by one, q4 by none.
    assert counts(table, "model.c", "model.d", "math500") == {"easy": (2, 1, 0), "medium": (1, 1, 1), "hard": (1, 0, 0)}
    assert set(table.column("difficulty_by").to_pylist()) == {"other models"}


def test_a_benchmarks_own_levels_take_precedence(four: Make) -> None:
    families = {"q1": "algebra-1", "q2": "geometry-5", "q3": "number_theory-5", "q4": "algebra-2"}
    table = exclusive(four(families))
    assert counts(table, "model.b", "model.a", "math500") == {
        "level 1": (1, 1, 0),
        "level 2": (1, 0, 0),
        "level 5": (2, 2, 1),
    }
    assert set(table.column("difficulty_by").to_pylist()) == {"level"}


def test_subjects_are_not_levels(four: Make) -> None:
    families = {"q1": "algebra-1", "q2": "geometry", "q3": "algebra-5", "q4": "algebra-2"}
    assert set(exclusive(four(families)).column("difficulty_by").to_pylist()) == {"other models"}


def test_pairs_under_different_protocols_are_named(four: Make) -> None:
    inputs = four()
    first = inputs.models[0]
    result = first.results["math500"]
    protocol = result.protocol.model_copy(update={"sampling": Sampling(temperature=1, top_p=0.95, max_tokens=8192)})
    changed = first.model_copy(
        update={"results": {"math500": result.model_copy(update={"protocol": protocol})}},
    )
    inputs = inputs.model_copy(update={"models": (changed, *inputs.models[1:])})
    table = exclusive(inputs)
    for row in table.to_pylist():
        assert row["protocol_differences"] == (["sampling"] if "model.a" in (row["model"], row["other"]) else [])
    (matrix,) = matrices(table)
    assert [square and square.comparable for square in matrix.lines[1][1]] == [False, None, True, True]
    assert matrix.lines[1][1][0].notes == (("Not comparable", "protocols differ in sampling"),)  # type: ignore[union-attr]
    assert "+1 / −0 \\*" in (inputs.output / "leaderboard.md").read_text()
    assert (
        "* The two models were not measured under the same protocol" in (inputs.output / "site/index.html").read_text()
    )


def test_the_matrix_of_the_page(four: Make) -> None:
    inputs = four()
    (matrix,) = matrices(exclusive(inputs))
    assert (matrix.title, matrix.caption, matrix.labels) == ("MATH-500", "easy · medium · hard", ("a", "b", "c", "d"))
    label, squares = matrix.lines[1]
    assert label == "b"
    assert [square and (square.text, square.classes) for square in squares] == [
        ("1", "0 · 1 · 0"),
        None,
        ("1", "0 · 1 · 0"),
        ("2", "0 · 2 · 0"),
    ]
    assert [square and square.shade for square in squares] == [25, None, 25, 50], "percent of the four questions"
    first = squares[0]
    assert first and first.names == matrix.names == ("easy", "medium", "hard")
    assert (first.alone, first.questions, first.solved, first.notes) == ((0, 1, 0), (1, 1, 2), 3, ())
    html = (inputs.output / "site/index.html").read_text()
    assert html.count('class="matrix"') == 1
    assert "Questions solved by one model and not by another" in html


def test_leaderboard_md_compares_each_model_with_the_baseline(four: Make) -> None:
    inputs = four(baseline="model.c")
    table = exclusive(inputs)
    assert {model: tuple(pairs[1][:2]) for model, pairs in against(table, "model.c").items()} == {
        "model.a": (1, 1),
        "model.b": (1, 0),
        "model.d": (0, 1),
    }
    text = (inputs.output / "leaderboard.md").read_text()
    assert "## Questions solved by a model or by c, not by both" in text
    assert "| a | +1 / −1 |" in text


def test_the_ids_are_those_of_the_questions_that_are_counted(four: Make) -> None:
    table = exclusive(four())
    for row in table.to_pylist():
        assert len(row["question_ids"]) == row["exclusive"]
    of_pair = [r for r in table.to_pylist() if (r["model"], r["other"]) == ("model.a", "model.c")]
    assert [q for r in of_pair for q in r["question_ids"]] == ["q3"]


def reference(answers: dict[str, dict[str, list[str]]]) -> dict[tuple[str, str], dict[str, tuple[int, int, list[str]]]]:
    """The definition, question by question: (model, other) -> difficulty -> (questions, solved, ids)."""

    def share(model: str, question: str) -> Fraction:
        return Fraction(answers[model][question].count("correct"), len(answers[model][question]))

    found: dict[tuple[str, str], dict[str, tuple[int, int, list[str]]]] = {}
    for model, other in permutations(answers, 2):
        shared = sorted(answers[model].keys() & answers[other].keys())
        judges = [m for m in answers if m not in (model, other) and answers[m].keys() >= set(shared)]
        classes: dict[str, tuple[int, int, list[str]]] = {}
        for question in shared:
            mean = sum((share(m, question) for m in judges), Fraction(0)) / max(1, len(judges))
            name = "easy" if mean > Fraction(2, 3) else "medium" if mean >= Fraction(1, 3) else "hard"
            count, solved, ids = classes.get(name if judges else "all", (0, 0, []))
            mine = share(model, question) > Fraction(1, 2)
            alone = mine and share(other, question) <= Fraction(1, 2)
            classes[name if judges else "all"] = (count + 1, solved + mine, [*ids, *[question] * alone])
        if classes:
            found[model, other] = classes
    return found


@pytest.mark.parametrize("seed", range(3))
def test_random_models_match_the_definition(answered: Make, seed: int) -> None:
    """Models with different k, some of which answered other questions."""
    noise = random.Random(seed)
    answers: dict[str, dict[str, list[str]]] = {}
    for number, k in enumerate([1, 2, 3, 4, 1, 2]):
        asked = [f"q{i}" for i in range(12) if number < 4 or noise.random() < 0.7]
        answers[f"model.m{number}"] = {q: [noise.choice(["correct", "incorrect"]) for _ in range(k)] for q in asked}
    found: dict[tuple[str, str], dict[str, tuple[int, int, list[str]]]] = {}
    for row in exclusive(answered(answers)).to_pylist():
        if row["questions"]:
            of_pair = found.setdefault((row["model"], row["other"]), {})
            of_pair[row["difficulty"]] = (row["questions"], row["solved"], row["question_ids"])
    assert found == reference(answers)
