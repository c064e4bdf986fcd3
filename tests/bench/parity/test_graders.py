"""Responses made from gold answers, and the comparison of verdicts on them."""

from typing import Any

import pytest

from bench.parity import graders, responses, spellings
from bench.records import Record
from benchmarks.suite import Question
from hpt_core.verifiers import get
from hpt_core.verifiers.base import Outcome

MATH = [Question(question_id=str(n), question="?", gold=gold, kind="math") for n, gold in enumerate(("$12$", "7"))]
CHOICE = [Question(question_id="0", question="Which?\n\nA) iron\nB) gold", gold="B", kind="choice")]


@pytest.mark.parametrize("questions", [MATH, CHOICE], ids=["math", "choice"])
def test_our_verdicts_on_made_responses(questions: list[Question]) -> None:
    for made in responses.responses(questions):
        verdict = get(made.question.kind).verify(
            responses.bare(made.question.gold), made.response, made.question.question
        )
        right = made.form in ("boxed", "box alone", "second box", "thought")
        if right or made.form in ("wrong", "cut off"):
            assert (verdict.outcome is Outcome.CORRECT) == right, made.form


@pytest.mark.parametrize(
    ("form", "gold", "text"),
    [
        ("5.0", "5", "5.0"),
        ("2{,}000", "2000", "2{,}000"),
        ("a/b", "-\\frac{3}{4}", "-3/4"),
        ("decimal", "\\frac{5}{2}", "2.5"),
        ("decimal", "\\frac{1}{3}", None),
        ("six places", "\\frac{1}{3}", "0.333333"),
        ("without its unit", "5 \\text{ cm}", "5"),
        ("other order", "1, 2", "2, 1"),
        ("other order", "1,000", None),
        ("0.1 % off", "1000", "1001"),
        ("other sign", "0", None),
    ],
)
def test_notations_of_gold_answers(form: str, gold: str, text: str | None) -> None:
    assert spellings.FORMS[form](gold) == text


def verdict(**changes: Any) -> dict[str, Any]:
    return {"correct": False, "read": None} | changes


def test_every_disagreement_has_a_cause() -> None:
    row = {
        "id": "boxed/aime24/1", "form": "boxed", "benchmark": "aime24", "gold": "1", "outcome": "correct",
        "extracted": "1", "response": "\\boxed{1}",
        "graders": {
            "agrees": verdict(correct=True, restated=True),
            "reads": verdict(restated=True),
            "compares": verdict(restated=False),
        },
    }  # fmt: skip
    wrong = row | {"outcome": "incorrect", "extracted": None, "graders": {"unboxed": verdict(correct=True)}}
    found = [*graders.compare(row), *graders.compare(wrong)]
    assert [entry["cause"] for entry in found] == ["", "reading", "comparison", "unboxed"]
    counts = graders.count(found)
    assert [one["scorer"] for one in counts] == ["agrees", "reads", "compares", "unboxed"]
    assert counts[3] == {
        "scorer": "unboxed", "responses": 1, "ours": 0, "theirs": 1, "unboxed": 1, "reading": 0, "comparison": 0
    }  # fmt: skip
    assert "| compares | 1 | 1 | 0 | 0 | 0 | 1 |" in graders.table(Record("graders", {}, {}, {"scorers": counts}))


def test_a_verdict_that_differs_from_the_stored_one_exits() -> None:
    row = {"id": "x", "kind": "math", "gold": "1", "response": "\\boxed{1}", "question": "?", "stored": "incorrect"}
    with pytest.raises(SystemExit, match="incorrect in the store, correct now"):
        graders.grade([row], 1)
