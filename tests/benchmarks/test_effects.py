"""The mixed model of seeds and questions: coverage, sums that can be checked by hand, and power."""

import math
from dataclasses import replace

import numpy as np
import pytest

from benchmarks.effects import Differences, Effect, deciding, effect
from hpt_core.evaluation.student import quantile, two_sided


@pytest.mark.parametrize(("freedom", "expected"), [(1, 12.706), (4, 2.776), (10, 2.228), (30, 2.042), (1e7, 1.960)])
def test_students_quantiles(freedom: float, expected: float) -> None:
    assert quantile(0.975, freedom) == pytest.approx(expected, abs=5e-4)
    assert two_sided(quantile(0.975, freedom), freedom) == pytest.approx(0.05, abs=1e-6)


def test_the_mean_is_over_benchmarks_not_over_questions() -> None:
    found = effect([np.full((2, 10), 0.1), np.full((2, 90), 0.3)])
    assert found.mean == pytest.approx(0.2)
    assert found.interval() == pytest.approx((0.2, 0.2))
    assert found.p_value == 1.0, "nothing varies, so nothing is known"


def test_a_single_seed_says_nothing_about_others() -> None:
    found = effect([np.array([[0.0, 1.0, 1.0]])])
    assert found.interval() == (-math.inf, math.inf)
    assert found.p_value == 1.0
    assert deciding(found, 0.05, 0.05) == (None, None)


def test_seeds_that_agree_by_chance_decide_nothing() -> None:
    """Two seeds, and two answers that differ in either: the seeds' means are equal."""
    values = np.zeros((2, 64))
    values[0, :2] = values[1, 2:4] = 1.0
    found = effect([values])
    assert found.mean > 0
    assert found.p_value > 0.05


def test_only_seeds_differ_is_students_test() -> None:
    seeds = np.array([0.1, 0.2, 0.4])
    found = effect([np.repeat(seeds[:, None], 50, axis=1)])
    half = 4.30265 * seeds.std(ddof=1) / math.sqrt(3)
    assert found.freedom == pytest.approx(2)
    assert found.interval() == pytest.approx((seeds.mean() - half, seeds.mean() + half), abs=1e-4)


def test_only_questions_differ_is_their_variance_with_few_degrees_of_freedom() -> None:
    questions = np.linspace(-0.2, 0.6, 40)
    found = effect([np.repeat(questions[None], 3, axis=0)])
    assert found.freedom == 2.5
    assert found.variance == pytest.approx(questions.var(ddof=1) / 40)


def test_the_interval_ends_where_the_p_value_says() -> None:
    found = effect(simulated(np.random.default_rng(3), 4, (50, 30), (0.5, 0.3)))
    low, _ = found.interval()
    assert replace(found, mean=found.mean - low).p_value == pytest.approx(0.05, abs=1e-6)


SEEDS = (3, 5, 8)
SIZES = ((60,), (40, 60, 100), (140, 100))
SPREADS = ((0.0, 0.3), (0.15, 0.3), (0.5, 0.3), (0.15, 1.0))
"""Standard deviations of a method's log-odds from seed to seed, and of the methods' difference from question to
question."""


def simulated(
    rng: np.random.Generator, seeds: int, sizes: tuple[int, ...], spread: tuple[float, float]
) -> list[Differences]:
    """Differences of two equally good methods, with four samples per question: questions differ in difficulty, methods
    from seed to seed, and each method has questions that suit it."""
    one, other = rng.normal(0, spread[0], (2, seeds, 1))
    found = []
    for questions in sizes:
        difficulty = rng.normal(0, 1.2, questions)
        half = rng.normal(0, spread[1], questions) / 2
        first, second = (1 / (1 + np.exp(-(difficulty + each))) for each in (one + half, other - half))
        found.append((rng.binomial(4, first) - rng.binomial(4, second)) / 4)
    return found


@pytest.mark.slow
def test_the_interval_covers_the_truth_in_93_to_97_percent() -> None:
    rng = np.random.default_rng(0)
    cases = [(s, q, v) for s in SEEDS for q in SIZES for v in SPREADS]
    tries = 250
    covered = dict.fromkeys(cases, 0)
    for case in cases:
        for _ in range(tries):
            covered[case] += effect(simulated(rng, *case)).p_value > 0.05
    share = {case: count / tries for case, count in covered.items()}
    assert 0.93 <= np.mean(list(share.values())) <= 0.97
    for seeds in SEEDS:
        assert 0.93 <= np.mean([s for case, s in share.items() if case[0] == seeds]) <= 0.98, seeds
    # A single case has a standard error of 1.4 points.
    assert min(share.values()) > 0.90, share


def test_small_p_values_of_few_seeds_are_not_too_small() -> None:
    """With ten claims, Holm's first threshold is 0.005."""
    rng = np.random.default_rng(2)
    for of_seeds in (0.0005, 0.001, 0.003):
        rejected = 0
        for _ in range(800):
            parts = rng.normal(0, of_seeds**0.5, (3, 1)), rng.normal(0, 0.05, 240), rng.normal(0, 0.1, (3, 240))
            rejected += effect([sum(parts)]).p_value < 0.005
        assert rejected <= 800 * 0.0115, of_seeds


def test_what_would_decide_a_claim_does() -> None:
    """Experiments of the proposed number of seeds find a true difference of that size about as often as promised."""
    found = Effect(0.01, 3, (100,), 0.03**2, (0.1**2,), (0.3**2,))
    seeds, factor = deciding(found, 0.05, 0.05)
    assert seeds is not None and seeds > 3
    assert factor is None, "three seeds alone vary too much"
    rng = np.random.default_rng(1)
    decided = 0
    for _ in range(400):
        values = 0.05 + rng.normal(0, 0.03, (seeds, 1)) + rng.normal(0, 0.1, 100) + rng.normal(0, 0.3, (seeds, 100))
        decided += effect([values]).p_value < 0.05
    assert 0.72 < decided / 400 < 0.9
    assert deciding(found, 0.5, 0.05) == (3, 1.0)
