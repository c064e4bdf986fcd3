import itertools
import math
import random

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks.significance import (
    RESAMPLES,
    _bootstrap_means,
    _flipped_means,
    _sum_by_sum,
    bootstrap_interval,
    compare,
    compare_average,
    holm,
    sign_flip_exact,
    sign_flips_exact,
)
from hpt_core.evaluation.metrics import interval


def brute_force(differences: list[int]) -> float:
    """Share of all sign patterns whose sum is at least as extreme."""
    observed = abs(sum(differences))
    sums = [
        abs(sum(s * d for s, d in zip(signs, differences, strict=True)))
        for signs in itertools.product((-1, 1), repeat=len(differences))
    ]
    return sum(s >= observed for s in sums) / len(sums)


@given(st.lists(st.integers(-6, 6), min_size=1, max_size=10))
def test_sign_flip_equals_enumeration(differences: list[int]) -> None:
    assert sign_flip_exact(np.array(differences)) == pytest.approx(brute_force(differences), abs=1e-12)


@given(
    st.integers(1, 8).flatmap(
        lambda n: st.lists(st.lists(st.integers(-6, 6), min_size=n, max_size=n), min_size=1, max_size=5)
    )
)
def test_many_pairs_at_once_equal_each_alone(rows: list[list[int]]) -> None:
    differences = np.array(rows, np.int64)
    assert sign_flips_exact(differences) == pytest.approx([brute_force(row) for row in rows], abs=1e-12)


def test_thousands_of_pairs_and_one_far_out_equal_each_alone() -> None:
    """In several blocks of rows and of angles, with totals and common divisors of their own."""
    generator = np.random.default_rng(1)
    differences = generator.integers(-3, 4, size=(1500, 700))
    differences[::7] *= 2
    differences[10] = 1
    differences[20] = 0
    found = sign_flips_exact(differences)
    for row in (*range(0, 1500, 100), 7, 10, 20):
        assert found[row] == pytest.approx(sign_flip_exact(differences[row]), rel=1e-6, abs=1e-12)
    assert found[10] == pytest.approx(2.0**-699, rel=1e-9)
    assert found[20] == 1.0
    assert sign_flips_exact(np.zeros((0, 5), np.int64)).shape == (0,)
    assert sign_flips_exact(differences[:3].astype(np.int8)) == pytest.approx(found[:3])


@pytest.mark.parametrize(("questions", "k", "better"), [(1000, 1, 0.52), (300, 8, 0.6), (60, 32, 0.75), (400, 1, 0.9)])
def test_many_questions_agree_with_the_sum_question_by_question(questions: int, k: int, better: float) -> None:
    """Also far out, where a Fourier transform alone would give noise."""
    generator = np.random.default_rng(questions)
    differences = generator.integers(0, k + 1, questions) * np.where(generator.random(questions) < better, 1, -1)
    sizes = np.abs(differences[differences != 0])
    exact = _sum_by_sum(sizes, int(sizes.sum()), abs(int(differences.sum())))
    assert sign_flip_exact(differences) == pytest.approx(exact, rel=1e-4, abs=0)


@given(st.integers(0, 30), st.integers(0, 30))
def test_one_sample_per_question_gives_mcnemars_exact_test(better: int, worse: int) -> None:
    n, m = better + worse, min(better, worse)
    binomial = min(1.0, 2 * sum(math.comb(n, i) for i in range(m + 1)) / 2**n)
    differences = np.array([1] * better + [-1] * worse + [0] * 5)
    assert sign_flip_exact(differences) == pytest.approx(binomial, abs=1e-12)


def test_differences_by_hand() -> None:
    model = {"a": (2, 2), "b": (1, 2), "c": (0, 2), "d": (2, 2)}
    baseline = {"a": (0, 2), "b": (1, 2), "c": (1, 2), "d": (1, 2)}
    found = compare(model, baseline)
    assert found.difference == pytest.approx((1 + 0 - 0.5 + 0.5) / 4)
    assert (found.questions, found.better, found.worse) == (4, 2, 1)
    # |+-2 +-1 +-1| >= 2: all signs but those where the ones agree with each other and not with the two.
    assert found.p_value == pytest.approx(6 / 8)
    assert found.low <= found.difference <= found.high


@given(st.integers(1, 200), st.integers(1, 9), st.integers(-9, 9))
def test_equal_differences_are_their_own_interval(questions: int, k: int, better: int) -> None:
    counts = [{f"q{i}": (max(0, sign * better) % (k + 1), k) for i in range(questions)} for sign in (1, -1)]
    found = compare(*counts)
    assert found.low == found.difference == found.high


@given(st.lists(st.integers(-2, 2), min_size=1, max_size=3))
def test_resampling_has_the_moments_of_all_resamples(differences: list[int]) -> None:
    values = np.array(differences, float)
    resampled, flipped = _bootstrap_means(values, 0), _flipped_means(values, 0)
    error = 5 * max(1.0, float(np.abs(values).max())) / math.sqrt(RESAMPLES)
    assert resampled.mean() == pytest.approx(values.mean(), abs=error)
    assert resampled.var() == pytest.approx(values.var() / len(values), abs=error)
    assert flipped.mean() == pytest.approx(0, abs=error)
    assert flipped.var() == pytest.approx((values**2).mean() / len(values), abs=2 * error)


def test_only_shared_questions_count_and_k_may_differ() -> None:
    found = compare({"a": (3, 4), "b": (4, 4), "x": (0, 4)}, {"a": (1, 2), "b": (1, 2), "y": (2, 2)})
    assert found.questions == 2
    assert found.difference == pytest.approx((0.25 + 0.5) / 2)
    with pytest.raises(ValueError, match="share no question"):
        compare({"a": (1, 1)}, {"b": (1, 1)})


def test_equal_models_show_no_difference() -> None:
    counts = {str(i): (i % 3, 2) for i in range(9)}
    found = compare(counts, counts)
    assert (found.difference, found.low, found.high, found.p_value) == (0.0, 0.0, 0.0, 1.0)
    assert compare_average([(counts, counts)]).p_value == 1.0


def test_order_of_questions_changes_nothing() -> None:
    noise = random.Random(3)
    model = {f"q{i}": (noise.randint(0, 4), 4) for i in range(40)}
    baseline = {f"q{i}": (noise.randint(0, 4), 4) for i in range(40)}
    shuffled = dict(sorted(model.items(), key=lambda item: item[0][::-1]))
    assert compare(model, baseline) == compare(shuffled, baseline)


def test_bootstrap_interval_agrees_with_the_normal_one_on_many_questions() -> None:
    noise = random.Random(5)
    model = {f"q{i}": (noise.randint(0, 8), 8) for i in range(400)}
    baseline = {f"q{i}": (noise.randint(0, 8), 8) for i in range(400)}
    differences = np.array([(model[q][0] - baseline[q][0]) / 8 for q in model])
    half = 1.96 * differences.std(ddof=1) / math.sqrt(400)
    found = compare(model, baseline)
    assert found.low == pytest.approx(differences.mean() - half, abs=0.1 * half)
    assert found.high == pytest.approx(differences.mean() + half, abs=0.1 * half)


def test_average_is_the_unweighted_mean_over_benchmarks() -> None:
    small = ({"a": (1, 1), "b": (1, 1)}, {"a": (0, 1), "b": (0, 1)})
    large = ({str(i): (0, 1) for i in range(100)}, {str(i): (0, 1) for i in range(100)})
    found = compare_average([small, large])
    assert found.difference == pytest.approx(0.5)
    assert (found.questions, found.better, found.worse) == (102, 2, 0)
    # Only the two questions can flip: half of the patterns are as extreme.
    assert found.p_value == pytest.approx(0.5, abs=0.03)


def test_average_of_one_benchmark_agrees_with_the_exact_test() -> None:
    model = {f"q{i}": (int(i < 14 or i >= 40), 1) for i in range(60)}
    baseline = {f"q{i}": (int(14 <= i < 20 or i >= 40), 1) for i in range(60)}
    exact = compare(model, baseline).p_value
    assert exact == pytest.approx(0.1153, abs=1e-4)  # binomial(20, 6), two-sided
    assert compare_average([(model, baseline)]).p_value == pytest.approx(exact, abs=4 * math.sqrt(exact / RESAMPLES))


def test_p_values_are_uniform_or_larger_when_there_is_no_difference() -> None:
    noise = random.Random(0)
    values = []
    for _ in range(300):
        pair = [{str(i): (noise.randint(0, 2), 2) for i in range(12)} for _ in range(2)]
        values.append(sign_flip_exact(np.array([pair[0][q][0] - pair[1][q][0] for q in pair[0]])))
    for level in (0.05, 0.2, 0.5):
        share = sum(v <= level for v in values) / len(values)
        assert share <= level + 3 * math.sqrt(level * (1 - level) / len(values))


def test_holm_by_hand() -> None:
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([0.9, 0.8]) == [1.0, 1.0]
    assert holm([]) == []


@given(st.lists(st.floats(0, 1), min_size=1, max_size=8))
def test_holm_keeps_order_and_never_lowers(p_values: list[float]) -> None:
    adjusted = holm(p_values)
    assert all(p <= a <= 1 for p, a in zip(p_values, adjusted, strict=True))
    for (p, a), (q, b) in itertools.combinations(zip(p_values, adjusted, strict=True), 2):
        assert a <= b if p < q else a >= b if p > q else a == b


@pytest.mark.parametrize(("a", "b"), [(0.8, 1.2), (3, 1), (0.5, 4)])
@pytest.mark.parametrize("seed", range(3))
def test_the_bootstrap_of_a_score_agrees_with_its_interval(a: float, b: float, seed: int) -> None:
    generator = np.random.default_rng(seed)
    k = 8
    values = (generator.binomial(k, generator.beta(a, b, 400)) / k).tolist()
    mean = math.fsum(values) / len(values)
    first, second = interval(values), bootstrap_interval(values)
    assert mean - second.low == pytest.approx(mean - first.low, rel=0.15)
    assert second.high - mean == pytest.approx(first.high - mean, rel=0.15)
    assert bootstrap_interval(values) == second
