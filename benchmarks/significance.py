"""Paired tests between two models on the same questions.

The tests use the difference on each question, which removes the questions' own difficulty from the comparison. Under
the null hypothesis that the models are exchangeable, the sign of each difference is a fair coin toss. With one sample
per question, the sign-flip test below is McNemar's exact test.
"""

import math
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from hpt_core.evaluation.metrics import Interval
from hpt_core.seeds import derive

Counts = Mapping[str, tuple[int, int]]
"""Question id -> (correct samples, samples)."""
RESAMPLES = 10_000
"""Number of bootstrap resamples and, for averages, of random sign flips."""
_SMALL = 1e-9
"""Probability below which the error of the Fourier transform would show."""
_CELLS = 1_000_000
"""Numbers in one block of an array. At most a few such arrays exist at once."""


class Difference(NamedTuple):
    """A model's score minus the baseline's, as fractions of 1."""

    difference: float
    low: float
    """Lower end of the 95 % interval."""
    high: float
    """Upper end of the 95 % interval."""
    p_value: float
    """Two-sided."""
    questions: int
    """Questions that both answered."""
    better: int
    """Questions on which the model's mean is higher."""
    worse: int
    """Questions on which it is lower."""


def compare(model: Counts, baseline: Counts, seed: int = 0) -> Difference:
    """Difference of two models on one benchmark, over the questions that both answered.

    The p-value comes from the exact sign-flip test on per-question means, the interval from the percentile bootstrap
    over questions. Raises ValueError if no question is shared.
    """
    scaled, scale = _differences(model, baseline)
    values = scaled / scale
    low, high = _interval(_bootstrap_means(values, derive(seed, "bootstrap")))
    p_value = sign_flip_exact(scaled)
    return Difference(float(values.mean()), low, high, p_value, len(scaled), *_signs([scaled]))


def compare_average(pairs: Sequence[tuple[Counts, Counts]], seed: int = 0) -> Difference:
    """Difference of two models in the unweighted mean over benchmarks. `pairs` holds (model, baseline) of each
    benchmark.

    Questions are resampled, and signs flipped, within their benchmark. The p-value comes from RESAMPLES random flips,
    because an exact one is infeasible with unequal weights. So it is never below 1 / (RESAMPLES + 1).
    """
    found = [_differences(model, baseline) for model, baseline in pairs]
    means = np.zeros(RESAMPLES)
    flipped = np.zeros(RESAMPLES)
    observed = 0.0
    for index, (scaled, scale) in enumerate(found):
        values = scaled / scale
        observed += float(values.mean()) / len(found)
        means += _bootstrap_means(values, derive(seed, "bootstrap", index)) / len(found)
        flipped += _flipped_means(values, derive(seed, "flip", index)) / len(found)
    extreme = int(np.count_nonzero(np.abs(flipped) >= abs(observed) - 1e-12))
    low, high = _interval(means)
    questions = sum(len(scaled) for scaled, _ in found)
    return Difference(
        observed, low, high, (extreme + 1) / (RESAMPLES + 1), questions, *_signs([scaled for scaled, _ in found])
    )


def bootstrap_interval(values: Sequence[float], seed: int = 0) -> Interval:
    """95 % interval of the mean of per-question `values`: the percentile bootstrap over questions."""
    return Interval(*_interval(_bootstrap_means(np.array(values), derive(seed, "bootstrap"))))


def sign_flip_exact(differences: npt.NDArray[np.int64]) -> float:
    """Two-sided p-value of the sum of integer `differences` ([N]) when each sign is a fair coin toss."""
    return float(sign_flips_exact(differences[None])[0])


def sign_flips_exact(differences: npt.NDArray[np.int64]) -> npt.NDArray[np.float64]:
    """`sign_flip_exact` of each row of `differences` [M, N], [M].

    The distribution of a sum is the Fourier transform of the product of the cosines of its terms. That is fast, with an
    absolute error of about 1e-13. A smaller probability is summed up one question at a time, to full precision.
    """
    differences = differences.astype(np.int64)
    sizes, observed = np.abs(differences), np.abs(differences.sum(axis=1))
    step = max(1, int(np.gcd.reduce(sizes, axis=None)))
    sizes, observed = sizes // step, observed // step
    p_values = np.ones(len(sizes))
    total = int(sizes.sum(axis=1).max(initial=0))
    if total == 0:
        return p_values
    rows = max(1, _CELLS // (total + 1))
    for first in range(0, len(sizes), rows):
        part = slice(first, first + rows)
        p_values[part] = _sign_flips(sizes[part], observed[part], total)
    for row in np.flatnonzero(p_values <= _SMALL):
        own = sizes[row][sizes[row] > 0]
        step = int(np.gcd.reduce(own))
        p_values[row] = _sum_by_sum(own // step, int(own.sum()) // step, int(observed[row]) // step)
    return p_values


def _sign_flips(sizes: npt.NDArray[np.int64], observed: npt.NDArray[np.int64], total: int) -> npt.NDArray[np.float64]:
    """P(|sum| >= observed), [M], of terms with these sizes, [M, N], and random signs; no sum is above `total`."""
    length = 2 * total + 1  # the sums from -total to total
    each = np.unique(sizes[sizes > 0])
    counts = np.array([(sizes == size).sum(axis=1) for size in each], float).reshape(len(each), -1).T
    transforms = np.empty((len(sizes), total + 1))
    width = max(1, _CELLS // (len(sizes) + len(each)))
    for first in range(0, total + 1, width):
        angles = 2 * np.pi * np.arange(first, min(first + width, total + 1)) / length
        cosines = np.cos(each[:, None] * angles)
        # A product of powers, as one matrix product of counts and logarithms. The length is odd, so no cosine is 0.
        part = np.exp(counts @ np.log(np.abs(cosines)))
        part[(counts @ (cosines < 0)) % 2 == 1] *= -1
        transforms[:, first : first + width] = part
    chances = np.fft.irfft(transforms, length)  # index: the sum; negative ones from the end
    tails = chances[:, total::-1].cumsum(axis=1)[:, ::-1]
    found = 2 * np.take_along_axis(tails, observed[:, None], axis=1)[:, 0]
    return np.where(observed == 0, 1.0, np.minimum(1.0, found))


def _sum_by_sum(sizes: npt.NDArray[np.int64], total: int, observed: int) -> float:
    """P(|sum| >= observed) of terms with these sizes, [N], and random signs; `total` is the sum of the sizes."""
    chances = np.zeros(total + 1)  # index: sum of the sizes with a positive sign
    chances[0] = 1.0
    for size in sizes:
        shifted = np.zeros_like(chances)
        shifted[size:] = chances[: total + 1 - size]
        chances = 0.5 * (chances + shifted)
    sums = 2 * np.arange(total + 1) - total
    return float(min(1.0, chances[np.abs(sums) >= observed].sum()))


def holm(p_values: Sequence[float]) -> list[float]:
    """Holm's step-down adjusted p-values, in the given order. They bound the probability of any false claim."""
    order = sorted(range(len(p_values)), key=lambda i: p_values[i])
    adjusted = [0.0] * len(p_values)
    running = 0.0
    for rank, index in enumerate(order):
        running = max(running, min(1.0, (len(p_values) - rank) * p_values[index]))
        adjusted[index] = running
    return adjusted


def _differences(model: Counts, baseline: Counts) -> tuple[npt.NDArray[np.int64], int]:
    """Per-question differences of means as integers over a common denominator, and that denominator."""
    shared = sorted(set(model) & set(baseline))
    if not shared:
        raise ValueError("the two models share no question")
    scale = math.lcm(*{counts[q][1] for counts in (model, baseline) for q in shared})
    scaled = [model[q][0] * (scale // model[q][1]) - baseline[q][0] * (scale // baseline[q][1]) for q in shared]
    return np.array(scaled, dtype=np.int64), scale


def _signs(parts: Sequence[npt.NDArray[np.int64]]) -> tuple[int, int]:
    return sum(int((p > 0).sum()) for p in parts), sum(int((p < 0).sum()) for p in parts)


def _interval(means: npt.NDArray[np.float64]) -> tuple[float, float]:
    low, high = np.quantile(means, [0.025, 0.975])
    return float(low), float(high)


def _bootstrap_means(values: npt.NDArray[np.float64], seed: int) -> npt.NDArray[np.float64]:
    """[RESAMPLES] means of questions resampled with replacement.

    Questions with the same value are drawn together: how often each value occurs is multinomial.
    """
    distinct, counts = np.unique(values, return_counts=True)
    generator, shares = np.random.default_rng(seed), counts / len(values)
    parts = [(generator.multinomial(len(values), shares, rows) - counts) @ distinct for rows in _blocks(len(counts))]
    # Around the mean, so that equal values give it without a rounding error.
    return np.asarray(values.mean() + np.concatenate(parts) / len(values))


def _flipped_means(values: npt.NDArray[np.float64], seed: int) -> npt.NDArray[np.float64]:
    """[RESAMPLES] means with random signs. Of questions with the same size, a binomial number is positive."""
    sizes, counts = np.unique(np.abs(values), return_counts=True)
    generator = np.random.default_rng(seed)
    parts = [
        (2 * generator.binomial(counts, 0.5, (rows, len(counts))) - counts) @ sizes for rows in _blocks(len(counts))
    ]
    return np.asarray(np.concatenate(parts) / len(values))


def _blocks(width: int) -> list[int]:
    """Rows of each block of RESAMPLES rows with `width` numbers."""
    rows = max(1, _CELLS // width)
    return [min(rows, RESAMPLES - start) for start in range(0, RESAMPLES, rows)]
