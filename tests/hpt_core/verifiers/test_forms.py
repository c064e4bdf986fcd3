"""Every form of an answer: correct ones pass, perturbed ones fail. The cases are in forms.json."""

import json
import re
from pathlib import Path

import pytest

from hpt_core.verifiers import Outcome
from hpt_core.verifiers.pool import Item, VerifierPool

CASES = json.loads((Path(__file__).parent / "forms.json").read_text(encoding="utf-8"))
FORMS = {
    "interval", "union", "set", "tuple", "tuples", "matrix", "vector", "unit", "percentage", "fraction", "mixed number",
    "thousands", "degrees", "scientific", "several answers", "text", "yes or no", "equation", "inequality", "base",
}  # fmt: skip


@pytest.fixture(scope="module")
def pool():
    with VerifierPool(workers=2) as pool:
        yield pool


def outcomes(pool, pairs):
    verdicts = pool.verify([Item("math", gold, f"So the answer is $\\boxed{{{answer}}}$.") for gold, answer in pairs])
    return [verdict.outcome for verdict in verdicts]


def test_the_table_has_every_form_and_no_case_twice():
    assert {case["form"] for case in CASES} >= FORMS
    pairs = [(case["gold"], answer) for case in CASES for answer in case["right"] + case["wrong"]]
    assert len(set(pairs)) == len(pairs)
    assert all(case["right"] and len(case["wrong"]) >= 2 for case in CASES)


@pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case['form']}: {case['gold']}")
def test_correct_answers_pass_and_perturbed_ones_fail(pool, case):
    found = outcomes(pool, [(case["gold"], answer) for answer in case["right"] + case["wrong"]])
    right, wrong = found[: len(case["right"])], found[len(case["right"]) :]
    assert [a for a, o in zip(case["right"], right, strict=True) if o is not Outcome.CORRECT] == []
    assert [a for a, o in zip(case["wrong"], wrong, strict=True) if o is not Outcome.INCORRECT] == []


def another_digit(answer: str) -> list[str]:
    """`answer` with each of its digits changed in turn; not from the sixth decimal on, where a decimal is rounded."""
    rounded = {at for match in re.finditer(r"\.\d{5}(\d+)", answer) for at in range(match.start(1), match.end(1))}
    return [
        answer[: match.start()] + str((int(match.group()) + 1) % 10) + answer[match.end() :]
        for match in re.finditer("[0-9]", answer)
        if match.start() not in rounded
    ]


def test_no_correct_answer_passes_with_another_digit(pool):
    pairs = [(case["gold"], other) for case in CASES for right in case["right"] for other in another_digit(right)]
    assert len(pairs) > 800
    found = outcomes(pool, pairs)
    assert [pair for pair, outcome in zip(pairs, found, strict=True) if outcome is Outcome.CORRECT] == []


def test_no_correct_answer_passes_with_another_sign(pool):
    signless = {"text", "yes or no", "set", "infinity", "ratio", "base", "union", "matrix", "vector", "inequality"}
    pairs = [
        (case["gold"], right[1:] if right[0] in "-−" else f"-{right}")
        for case in CASES
        for right in case["right"]
        if case["form"] not in signless and not re.search("[=<>]|\\\\[lg]e|\\\\in|\\\\pm", right)
        and right.strip("+-0.") and right[0] not in "([\\{"
    ]  # fmt: skip
    assert len(pairs) > 100
    found = outcomes(pool, pairs)
    assert [pair for pair, outcome in zip(pairs, found, strict=True) if outcome is Outcome.CORRECT] == []
