"""Options read from a question's text."""

import pytest

from hpt_core.verifiers.options import asks_for_exception, options


@pytest.mark.parametrize(
    ("question", "found"),
    [
        ("Why?\n\nA) x\nB) y\nC) z", {"A": "x", "B": "y", "C": "z"}),
        ("Why?\nA. x\nB. y", {"A": "x", "B": "y"}),
        ("Why?\n(A) x\n(B) y", {"A": "x", "B": "y"}),
        ("Why?\n\n1) x\n2) y\n3) z", {"1": "x", "2": "y", "3": "z"}),
        ("Reagents?\n\nA. 1. Na\n2. H\nB. 1. Li\n2. N", {"A": "1. Na\n2. H", "B": "1. Li\n2. N"}),
        ("A) a list\nB) of two\n\nA) x\nB) y", {"A": "x", "B": "y"}),
        ("Why?\n\nA) x\nB) y\n\nAnswer with the letter.", {"A": "x", "B": "y"}),
        ("Why?\n\n" + "\n".join(f"{n}) o{n}" for n in range(1, 11)), {str(n): f"o{n}" for n in range(1, 11)}),
        ("10) ten alone\n11) eleven", {}),
        ("A) one alone", {}),
        ("none", {}),
        ("", {}),
    ],
)
def test_options(question, found):
    assert options(question) == found


@pytest.mark.parametrize(
    ("question", "exception"),
    [
        ("Which of the following is NOT a mammal?\n\nA) whale\nB) shark", True),
        ("All of these are mammals EXCEPT\n\nA) whale\nB) shark", True),
        ("Which statement is false?\nA. x\nB. y", True),
        ("Which statement isn't supported by the text?", True),
        ("Which is the least likely cause?", True),
        ("Which is a mammal?\n\nA) not a shark\nB) Which is false?", False),
        ("A plant does not get light. What happens to it?\n\nA) It grows.\nB) It wilts.", False),
        ("What melts first?", False),
        ("", False),
    ],
)
def test_questions_for_what_is_not_so(question, exception):
    assert asks_for_exception(question) == exception
