"""Options read from a question's text."""

import pytest

from hpt_core.verifiers.options import options


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
