import pytest

from hpt_core.verifiers import Outcome, get

CASES = [
    (r"so \boxed{C}", "C"),
    (r"\boxed{c}", "C"),
    (r"\boxed{\text{(C)}}", "C"),
    (r"\boxed{\textbf{C}}", "C"),
    (r"\boxed{C.}", "C"),
    (r"\boxed{C. The mitochondrion}", "C"),
    (r"\boxed{(C) the mitochondrion}", "C"),
    (r"\boxed{C) 42}", "C"),
    (r"\boxed{C: 42}", "C"),
    (r"\boxed{Option C}", "C"),
    (r"\boxed{3}", "3"),
    (r"\boxed{A} or \boxed{B}", "B"),
    (r"The answer is A. Hence \boxed{B}", "B"),
    (r"<think>\boxed{A}</think> The correct answer is (D).", "D"),
    ("The answer is C", "C"),
    ("The answer is (c).", "C"),
    ("**Answer:** C", "C"),
    ("**Answer: C**", "C"),
    ("Answer: A, then again the answer is: B", "B"),
    ("The final answer is $D$.", "D"),
    (r"the answer would be \text{(E)}", "E"),
    ("the answer is option B", "B"),
    ("Option B is correct.", "B"),
    ("The answer is A.", "A"),
    ("B", "B"),
    ("(J)", "J"),
    (r"\boxed{42}", "42"),
    (r"\boxed{AB}", "AB"),
    (r"\boxed{A, B}", "A, B"),
    ("The answer is A dog.", None),
    ("The answer is 3.5", None),
    ("The answer is Democracy.", None),
    ("I cannot tell.", None),
    (r"\boxed{}", None),
    (r"<think>The answer is A.</think> Who knows?", None),
    ("", None),
]


@pytest.mark.parametrize(("response", "extracted"), CASES)
def test_extraction(response, extracted):
    assert get("choice").extract(response) == extracted


@pytest.mark.parametrize(
    ("gold", "response", "outcome"),
    [
        ("C", r"\boxed{c}", Outcome.CORRECT),
        ("c", r"\boxed{C}", Outcome.CORRECT),
        ("(C)", r"\boxed{C}", Outcome.CORRECT),
        ("2", "The answer is 2", Outcome.CORRECT),
        ("C", r"\boxed{D}", Outcome.INCORRECT),
        ("C", r"\boxed{the mitochondrion}", Outcome.INCORRECT),
        ("C", "no idea", Outcome.NO_ANSWER),
        ("", r"\boxed{C}", Outcome.GOLD_ERROR),
        ("K", r"\boxed{K}", Outcome.GOLD_ERROR),
        ("7", r"\boxed{7}", Outcome.GOLD_ERROR),
        ("the mitochondrion", "no idea", Outcome.GOLD_ERROR),
    ],
)
def test_outcome(gold, response, outcome):
    assert get("choice").verify(gold, response).outcome is outcome
