"""The workload of the contestants."""

import pytest

from bench._peers import work


@pytest.mark.parametrize(
    ("gold", "bare"),
    [("\\boxed{\\frac{1}{2}}", "\\frac{1}{2}"), ("$x+1$", "x+1"), (" 7 ", "7"), ("$1$, $2$", "$1$, $2$")],
)
def test_a_bare_gold_answer(gold: str, bare: str) -> None:
    assert work.bare(gold) == bare


def test_options_of_a_question() -> None:
    question = "Which?\n\nA) iron\nB) gold\nor lead\nC) tin"
    assert work.options(question) == ["iron", "gold\nor lead", "tin"]
