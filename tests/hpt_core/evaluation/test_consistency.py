"""maj@k, G-pass@k and variances against brute force and simulation."""

import itertools
import math
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hpt_core.evaluation.consistency import g_pass_at_k, majority, mean_g_pass_at_k, variance
from hpt_core.evaluation.metrics import clustered_stderr, pass_at_k

SMALL = st.integers(1, 7).flatmap(lambda n: st.tuples(st.just(n), st.integers(0, n), st.integers(1, n)))


@given(SMALL, st.fractions(0, 1, max_denominator=8))
def test_g_pass_equals_enumerating_every_subset(drawn, share):
    n, c, k = drawn
    subsets = list(itertools.combinations([1] * c + [0] * (n - c), k))
    wanted = max(1, math.ceil(share * k))
    expected = Fraction(sum(sum(s) >= wanted for s in subsets), len(subsets))
    assert g_pass_at_k(n, c, k, float(share)) == float(expected)


def test_a_share_is_an_exact_decimal():
    """0.55 * 100 is above 55 in binary."""
    assert g_pass_at_k(100, 55, 100, 0.55) == 1.0


@given(SMALL)
def test_g_pass_at_least_one_is_pass_at_k(drawn):
    assert g_pass_at_k(*drawn, 0) == pass_at_k(*drawn)


def test_g_pass_is_exact_for_many_samples():
    exact = Fraction(sum(math.comb(700, j) * math.comb(1348, 512 - j) for j in range(256, 513)), math.comb(2048, 512))
    assert g_pass_at_k(2048, 700, 512, 0.5) == float(exact)


@given(SMALL)
def test_mean_g_pass_is_the_integral_over_shares(drawn):
    n, c, k = drawn
    # It is constant within cells of 1/(2k), whose ends hold 1/2 and every multiple of 1/k.
    middle = [(i + 0.5) / (2 * k) for i in range(k, 2 * k)]
    assert mean_g_pass_at_k(n, c, k) == pytest.approx(sum(g_pass_at_k(n, c, k, m) for m in middle) / len(middle))


def test_mean_g_pass_of_steady_models():
    assert [mean_g_pass_at_k(k, k, k) for k in (1, 2, 3, 8)] == pytest.approx([1] * 4)
    assert [mean_g_pass_at_k(k, 0, k) for k in (1, 2, 3, 8)] == [0] * 4


@pytest.mark.parametrize(("n", "c", "k", "share"), [(4, 5, 1, 0.5), (4, 1, 5, 0.5), (4, 1, 0, 0.5), (4, 1, 2, 1.5)])
def test_g_pass_refuses_what_it_cannot_estimate(n, c, k, share):
    with pytest.raises(ValueError, match="G-pass@"):
        g_pass_at_k(n, c, k, share)


@pytest.mark.parametrize(
    ("answers", "correct", "expected"),
    [
        (["1/2", "0.5", "3", "3"], [True, True, False, False], 0.5),  # two ways to write the correct answer, one tie
        (["1/2", "0.5", "2", "3"], [True, True, False, False], 1.0),
        (["7", "3 ", " 3"], [True, False, False], 0.0),
        ([None, None, "7"], [False, False, True], 1.0),  # samples without an answer do not vote
        ([None, None], [False, False], 0.0),
        (["1", "2", "3"], [True, False, False], 1 / 3),
        # Wrong answers are one where they differ in writing alone: 2 votes against 1.
        (["7", r"\dfrac{1}{2}", r"$\frac{1}{2}$."], [True, False, False], 0.0),
        (["7", r"\left( 1, 2 \right)", "(1,2)"], [True, False, False], 0.0),
        (["7", "Yes.", "yes"], [True, False, False], 0.0),
        # A command is not read as another's beginning, and other values stay apart.
        (["7", r"\leftarrow", "arrow"], [True, False, False], 1 / 3),
        (["7", "1.5", "15"], [True, False, False], 1 / 3),
        # Written otherwise, an answer still divides its votes: the bias that is left.
        (["7", "1/2", "0.5"], [True, False, False], 1 / 3),
    ],
)
def test_majority(answers, correct, expected):
    assert majority(answers, correct) == pytest.approx(expected)


@given(st.integers(2, 9).flatmap(lambda k: st.tuples(st.just(k), st.lists(st.integers(0, k), min_size=2, max_size=40))))
def test_variances_add_up_to_the_clustered_one_unless_the_questions_part_is_estimated_below_0(drawn):
    k, correct = drawn
    found = variance(correct, k)
    total = clustered_stderr([c / k for c in correct]) ** 2
    assert found.samples >= 0
    assert found.questions == pytest.approx(max(0.0, total - found.samples), abs=1e-12)


def test_identical_questions_have_no_variance_between_questions():
    # Each is right half of the time: all of their spread, and more, is that of their samples.
    found = variance([1, 1, 1, 1], 2)
    assert found.questions == 0.0 < found.samples
    assert found.questions + found.samples > clustered_stderr([0.5] * 4) ** 2


def test_variances_are_those_of_a_simulation():
    generator = np.random.default_rng(3)
    n, k, a, b = 60, 8, 0.8, 1.2
    rates = generator.beta(a, b, (4000, n))
    correct = generator.binomial(k, rates)
    mean = a / (a + b)
    between = mean * (1 - mean) / (a + b + 1)
    within = mean * (1 - mean) - between
    found = [variance(row.tolist(), k) for row in correct]
    assert np.mean([f.questions for f in found]) == pytest.approx(between / n, rel=0.02)
    assert np.mean([f.samples for f in found]) == pytest.approx(within / (n * k), rel=0.02)


def test_one_sample_or_one_question_leaves_its_variance_unknown():
    assert all(map(math.isnan, variance([1, 0, 1], 1)))
    one = variance([2], 4)
    assert math.isnan(one.questions)
    assert one.samples == pytest.approx(1 / 12)


def test_all_of_many_samples_are_counted_not_estimated():
    assert [g_pass_at_k(2048, c, 2048, 0.5) for c in (1023, 1024)] == [0, 1]
    assert mean_g_pass_at_k(2048, 1536, 2048) == pytest.approx(0.5)
