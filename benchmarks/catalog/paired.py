"""Which of many models are not distinguishable from the best: paired sign-flip tests, corrected by Holm.

The exact tests of a thousand models on eight benchmarks take half a second. Most pairs need no exact value. With S the
sum of the differences d and V the sum of their squares, a sum of random signs is

    at least |S| with a probability of at most 2 exp(-S^2 / 2V)     (Hoeffding 1963), and
    at least sqrt(V) with a probability of at least 1/10            (Oleszkiewicz 1996).

So pairs far apart are told apart, and those with |S| <= sqrt(V) are not, whatever the exact value is.
"""

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from benchmarks.significance import RESAMPLES, holm, sign_flips_exact
from hpt_core.seeds import derive

ALPHA = 0.05
"""Family-wise error rate. Below the 1/10 of the second bound."""
ENOUGH = 30
"""Differences from which on a weighted sum of random signs is taken as normal."""

Counts = npt.NDArray[np.int64]


class BenchmarkCounts(NamedTuple):
    """One benchmark of a column: what each model answered."""

    correct: Counts
    """[M, Q] correct samples."""
    k: int
    """Samples per question."""


def not_distinguishable(members: Sequence[BenchmarkCounts], best: int) -> npt.NDArray[np.bool_]:
    """[M] whether the mean over the members differs from that of model `best` by no more than chance explains.

    The means are unweighted over the members. Holm's correction is over all models but the best.
    """
    differences = [(member.correct[best] - member.correct) for member in members]
    weights = [1 / (member.k * member.correct.shape[1] * len(members)) for member in members]
    sums = sum(w * d.sum(axis=1) for w, d in zip(weights, differences, strict=True))
    squares = sum(w * w * (d * d).sum(axis=1) for w, d in zip(weights, differences, strict=True))
    ratios = np.divide(sums * sums, squares, out=np.zeros_like(squares), where=squares > 0)
    bounds = 2 * np.exp(-ratios / 2)
    others = np.delete(np.arange(len(ratios)), best)
    p_values = np.where(ratios <= 1, 1.0, bounds)
    unclear = np.flatnonzero((ratios > 1) & (bounds >= ALPHA / max(1, len(others))))
    if len(members) == 1:
        p_values[unclear] = sign_flips_exact(differences[0][unclear])
    else:
        for row in unclear:
            p_values[row] = _p_value([d[row] for d in differences], weights, float(ratios[row]))
    found = np.ones(len(ratios), bool)
    found[others] = np.array(holm(p_values[others].tolist())) >= ALPHA
    return found


def _p_value(differences: Sequence[Counts], weights: Sequence[float], ratio: float) -> float:
    """Two-sided p-value of one pair on an average: of random flips, or with many questions of the normal
    distribution."""
    sizes = np.concatenate([w * np.abs(d[d != 0]) for w, d in zip(weights, differences, strict=True)])
    if len(sizes) > ENOUGH:
        return math.erfc(math.sqrt(ratio / 2))
    generator = np.random.default_rng(derive(0, "flip"))
    flipped = (2 * generator.integers(0, 2, size=(RESAMPLES, len(sizes))) - 1) @ sizes
    observed = math.sqrt(ratio) * math.sqrt(float((sizes * sizes).sum()))
    return (int(np.count_nonzero(np.abs(flipped) >= observed - 1e-12)) + 1) / (RESAMPLES + 1)
