"""Metrics against exact fractions, brute force and simulation."""

import itertools
import math
import random
import statistics
from fractions import Fraction

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from hpt_core.errors import DataError
from hpt_core.evaluation.metrics import (
    clustered_stderr,
    group_average,
    interval,
    pass_at_k,
    pass_curve,
    question_counts,
    score,
    solves,
)
from hpt_core.schemas import SAMPLES, VERDICTS

RATES = st.lists(st.integers(0, 8).map(lambda c: c / 8), min_size=1, max_size=60)


def tables(outcomes: dict[str, list[str]], tokens: int = 10, finish: str = "stop") -> tuple[pa.Table, pa.Table]:
    """Samples and verdicts of the outcomes given for each question."""
    rows = [(q, i, o) for q, found in outcomes.items() for i, o in enumerate(found)]
    samples = [
        {
            "benchmark": "b",
            "question_id": q,
            "sample_index": i,
            "seed": 1,
            "response": "r",
            "tokens": tokens + n,
            "prompt_tokens": 3,
            "finish_reason": finish if n % 2 else "stop",
        }
        for n, (q, i, _) in enumerate(rows)
    ]
    verdicts = [
        {"benchmark": "b", "question_id": q, "sample_index": i, "outcome": o, "extracted": None} for q, i, o in rows
    ]
    return pa.Table.from_pylist(samples, schema=SAMPLES), pa.Table.from_pylist(verdicts, schema=VERDICTS)


@given(st.data())
def test_pass_at_k_equals_the_exact_fraction(data):
    n = data.draw(st.integers(1, 2048))
    c = data.draw(st.integers(0, n))
    k = data.draw(st.integers(1, n))
    exact = 1 - Fraction(math.comb(n - c, k), math.comb(n, k))
    assert pass_at_k(n, c, k) == float(exact)


@given(st.integers(1, 7).flatmap(lambda n: st.tuples(st.just(n), st.integers(0, n), st.integers(1, n))))
def test_pass_at_k_equals_enumerating_every_subset(drawn):
    n, c, k = drawn
    subsets = list(itertools.combinations([True] * c + [False] * (n - c), k))
    assert pass_at_k(n, c, k) == pytest.approx(sum(any(s) for s in subsets) / len(subsets), abs=1e-15)


def test_pass_at_k_is_not_any_of_the_first_k():
    assert pass_at_k(4, 1, 2) == 0.5


@pytest.mark.parametrize(("n", "c", "k"), [(4, 5, 1), (4, -1, 1), (4, 1, 5), (4, 1, 0)])
def test_pass_at_k_refuses_what_it_cannot_estimate(n, c, k):
    with pytest.raises(ValueError, match="pass@"):
        pass_at_k(n, c, k)


@given(st.lists(st.integers(0, 2048), min_size=1, max_size=20))
def test_pass_curve_rises_with_k_from_the_mean(correct):
    curve = pass_curve(correct, 2048)
    values = [curve[k - 1] for k in (1, 2, 16, 1024, 2048)]
    assert values[0] == pytest.approx(sum(correct) / len(correct) / 2048)
    assert values == sorted(values)
    assert values[-1] == pytest.approx(sum(c > 0 for c in correct) / len(correct))


@given(st.integers(1, 40).flatmap(lambda n: st.tuples(st.just(n), st.lists(st.integers(0, n), min_size=1))))
def test_pass_curve_is_pass_at_every_k(drawn):
    n, correct = drawn
    expected = [statistics.fmean(pass_at_k(n, c, k) for c in correct) for k in range(1, n + 1)]
    assert pass_curve(correct, n) == pytest.approx(expected, rel=1e-15, abs=0)


def test_pass_curve_is_exact_for_many_samples():
    curve = pass_curve([3], 2048)
    assert [curve[k - 1] for k in (1, 77, 1024, 2046)] == [pass_at_k(2048, 3, k) for k in (1, 77, 1024, 2046)]


@given(RATES)
def test_clustered_stderr_is_that_of_the_questions_means(values):
    assume(len(values) > 1)
    assert clustered_stderr(values) == pytest.approx(statistics.stdev(values) / math.sqrt(len(values)), abs=1e-12)


def test_stderr_of_one_question_is_unknown():
    assert math.isnan(clustered_stderr([0.5]))


@given(RATES)
def test_interval_holds_the_mean_and_has_width(values):
    low, high = interval(values)
    mean = sum(values) / len(values)
    assert 0 <= low <= mean + 1e-12
    assert mean - 1e-12 <= high <= 1
    assert high - low > 0.001


@given(RATES)
def test_interval_is_symmetric_in_right_and_wrong(values):
    low, high = interval(values)
    mirrored = interval([1 - v for v in values])
    assert mirrored == pytest.approx((1 - high, 1 - low), abs=1e-9)


@given(st.integers(1, 500).flatmap(lambda n: st.tuples(st.just(n), st.integers(0, n))))
def test_interval_of_single_samples_solves_wilsons_equation(drawn):
    n, correct = drawn
    p = correct / n
    for end in interval([1.0] * correct + [0.0] * (n - correct)):
        if 1e-9 < end < 1 - 1e-9:
            assert abs(end - p) / math.sqrt(end * (1 - end) / n) == pytest.approx(1.959963985, rel=1e-6)


def test_interval_barely_moves_with_the_first_success():
    none = interval([0.0] * 30)
    one = interval([1 / 32] + [0.0] * 29)
    assert none.low == 0
    assert none.high == pytest.approx(0.1135, abs=1e-4)
    assert one.high == pytest.approx(none.high, abs=0.005)


def test_several_samples_narrow_the_interval_and_never_widen_it():
    single = interval([1.0] * 15 + [0.0] * 15)
    mixed = interval([0.25] * 15 + [0.75] * 15)
    assert mixed.high - mixed.low < 0.7 * (single.high - single.low)


@pytest.mark.parametrize(
    ("questions", "k", "a", "b"), [(30, 32, 0.3, 0.9), (40, 32, 1, 1), (100, 1, 1, 3), (30, 8, 0.1, 2)]
)
def test_interval_covers_the_truth(questions, k, a, b):
    generator = np.random.default_rng(7)
    covered = 0
    for _ in range(1000):
        rates = generator.beta(a, b, questions)
        values = (generator.binomial(k, rates) / k).tolist()
        low, high = interval(values)
        covered += low <= a / (a + b) <= high
    assert covered >= 930


def test_score_against_hand_computed_values():
    samples, verdicts = tables(
        {
            "q1": ["correct", "correct", "incorrect", "no_answer"],
            "q2": ["timeout", "incorrect", "gold_error", "no_answer"],
        },
        finish="length",
    )
    found = score("b", samples, verdicts, 4)
    assert (found.questions, found.k, found.mean) == (2, 4, 0.25)
    assert found.stderr == pytest.approx(0.25)
    assert found.pass_at == pytest.approx((0.25, 5 / 12, 0.5, 0.5))
    order = [0, 4, 1, 5, 2, 6, 3, 7]
    assert score("b", samples.take(order), verdicts.take(order), 4).majority == 0.5
    assert found.majority == 0.5  # q1: two correct votes against one; q2: none of the answers is right
    assert [(point.share, point.value) for point in found.g_pass_at] == [(0.25, 0.5), (0.5, 0.5), (0.75, 0), (1, 0)]
    assert found.variance.questions + found.variance.samples == pytest.approx(found.stderr**2)
    assert found.values == (0.5, 0)
    assert (found.truncated, found.no_answer, found.timeout, found.gold_error) == (0.5, 0.25, 0.125, 0.125)
    assert found.mean_tokens == pytest.approx(13.5)
    assert found.low < 0.25 < found.high


@given(st.integers(1, 9), st.lists(st.integers(0, 9), min_size=1, max_size=12))
def test_avg_at_k_does_not_depend_on_k_by_construction(k, correct):
    """The same success rates give the same score whatever k is: nothing is divided by another number than it has."""
    outcomes = {f"q{i}": ["correct"] * min(c, k) + ["incorrect"] * (k - min(c, k)) for i, c in enumerate(correct)}
    doubled = {q: found * 2 for q, found in outcomes.items()}
    once, twice = score("b", *tables(outcomes), k), score("b", *tables(doubled), 2 * k)
    assert once.mean == pytest.approx(twice.mean)
    assert once.mean == pytest.approx(sum(min(c, k) for c in correct) / (k * len(correct)))


@pytest.mark.parametrize(
    ("outcomes", "k", "message"),
    [
        ({"q1": ["correct"] * 4, "q2": ["correct"] * 3}, 4, r"q2 has 3 samples .* where 4 are expected"),
        ({"q1": ["correct"] * 8}, 4, r"q1 has 8 samples .* where 4 are expected"),
        ({}, 4, r"no samples"),
    ],
)
def test_another_number_of_samples_is_an_error(outcomes, k, message):
    with pytest.raises(DataError, match=message):
        score("b", *tables(outcomes), k)


def test_doubled_and_skipped_samples_are_errors():
    _, verdicts = tables({"q1": ["correct"] * 3})
    with pytest.raises(DataError, match="sample 0 twice"):
        question_counts(pa.concat_tables([verdicts, verdicts.slice(0, 1)]), 4)
    with pytest.raises(DataError, match=r"indices 1, 2"):
        question_counts(verdicts.slice(1), 2)


def test_verdicts_of_other_samples_are_refused():
    samples, verdicts = tables({"q1": ["correct"], "q2": ["incorrect"]})
    with pytest.raises(DataError, match="differ in question_id"):
        score("b", samples, verdicts.take([1, 0]), 1)


def test_runaway_repetition_is_told_apart_from_running_out_of_tokens():
    samples, verdicts = tables({"a": ["correct"] * 2, "b": ["incorrect"] * 2}, finish="repetition")
    found = score("b", samples, verdicts, 2)
    assert (found.repetition, found.truncated) == (0.5, 0.0)


def test_group_average_is_unweighted_and_its_interval_holds_it():
    large = score("large", *tables({f"q{i}": ["correct"] for i in range(99)} | {"q99": ["incorrect"]}), 1)
    small = score("small", *tables({"q0": ["incorrect"], "q1": ["incorrect"]}), 1)
    average = group_average([large, small])
    assert average.benchmarks == ("large", "small")
    assert average.mean == pytest.approx(0.495)
    assert average.stderr == pytest.approx(large.stderr / 2)
    assert average.low == pytest.approx(0.495 - (large.mean - large.low) / 2)
    assert average.high == pytest.approx(0.495 + math.hypot(large.high - large.mean, small.high) / 2)


def test_average_of_one_score_is_the_score_and_of_none_an_error():
    one = score("b", *tables({"q0": ["correct"], "q1": ["incorrect"]}), 1)
    average = group_average([one])
    assert (average.mean, average.low, average.high) == pytest.approx((one.mean, one.low, one.high))
    with pytest.raises(ValueError, match="at least one"):
        group_average([])


@pytest.mark.slow
def test_group_average_covers_the_truth():
    """Six benchmarks of the demo's size: the interval of their mean covers the mean of their true rates."""
    generator = random.Random(3)
    truths = [0.47, 0.23, 0.17, 0.10, 0.07, 0.06]
    covered = 0
    for _ in range(400):
        scores = []
        for truth in truths:
            outcomes = {f"q{i}": ["correct" if generator.random() < truth else "incorrect"] for i in range(60)}
            scores.append(score("b", *tables(outcomes), 1))
        average = group_average(scores)
        covered += average.low <= sum(truths) / 6 <= average.high
    assert covered >= 370


@pytest.mark.parametrize(
    ("correct", "samples", "solved"),
    [(1, 1, True), (0, 1, False), (1, 2, False), (2, 2, True), (16, 32, False), (17, 32, True), (2, 3, True)],
)
def test_a_question_is_solved_by_more_than_half_of_the_samples(correct: int, samples: int, solved: bool) -> None:
    assert solves(correct, samples) is solved
