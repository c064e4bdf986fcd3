"""Options as text: labels, order, and the rules for options."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks.sources.choices import LETTERS, shuffled, with_options
from hpt_core import verifiers
from hpt_core.verifiers.options import options as options_of

OPTIONS = st.lists(st.text("abcxyz ", min_size=1).map(str.strip).filter(bool), min_size=2, max_size=10, unique=True)


@given(OPTIONS, st.sampled_from([")", "."]))
def test_the_verifier_reads_back_the_labels(options, mark):
    labels = LETTERS[: len(options)]
    assert list(options_of(with_options("Which one?", labels, options, mark))) == list(labels)
    digits = "123456789"[: len(options)]
    if len(options) < 10:
        assert list(options_of(with_options("Which one?", digits, options, mark))) == list(digits)


@pytest.mark.parametrize(
    ("question", "labels"),
    [
        ("W. Heisenberg asked.\n\nA. x\nB. y", "AB"),
        ("Reagents?\n\nA. 1. NaNH2\n2. H2\n3. O3\nB. 1. Li\n2. NH3", "AB"),
        ("Steps:\n1) heat\n2) cool\n\nA) 1\nB) 2\nC) both", "ABC"),
        ("A) first list\nB) of it\n\nA) x\nB) y\nC) z", "ABC"),
        ("no options", ""),
        ("A) one alone", ""),
    ],
)
def test_the_verifier_finds_the_options(question, labels):
    assert list(options_of(question)) == list(labels)


@given(OPTIONS, st.randoms(use_true_random=False))
def test_shuffle_depends_only_on_the_options(options, generator):
    correct, wrong = options[0], options[1:]
    ordered, gold = shuffled("Why?", correct, wrong)
    assert sorted(ordered) == sorted(options)
    assert ordered[LETTERS.index(gold)] == correct
    generator.shuffle(wrong)
    assert shuffled("Why?", correct, wrong) == (ordered, gold)


def test_shuffle_spreads_the_gold_over_the_letters():
    golds = [shuffled(f"question {i}", "right", ["wrong", "worse", "worst"])[1] for i in range(2000)]
    assert all(430 < golds.count(letter) < 570 for letter in "ABCD")


def test_equal_options_and_unknown_gold_labels_are_errors():
    with pytest.raises(ValueError, match="the same"):
        shuffled("Why?", "a", ["b", "a"])
    with pytest.raises(ValueError, match=r"'E' is not among the options A, B"):
        verifiers.get("choice").check_gold("E", with_options("Why?", "AB", ["x", "y"]))
