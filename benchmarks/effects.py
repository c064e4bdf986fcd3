"""The difference of two methods over training seeds and questions: a mixed model with both as random effects.

With d_sq the difference on question q between the two models of seed s, which share their base model,

    d_sq = mu + a_s + b_q + e_sq,    Var(mean) = Var(a) / S + Var(b) / Q + Var(e) / (S Q).

The variances are estimated by the analysis of variance, the degrees of freedom of the mean by Satterthwaite's rule,
with at most a quarter more than those of the seeds: the rule takes estimated variances as known, which makes the small
p-values of few seeds too small. A bootstrap over a handful of seeds would give intervals that are too narrow. With
several benchmarks, mu is the unweighted mean over them; a seed's effect is shared by all, and each has its own
questions.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from statistics import NormalDist

import numpy as np
import numpy.typing as npt

from hpt_core.evaluation.student import quantile, two_sided

Differences = npt.NDArray[np.float64]
"""[S, Q] of one benchmark."""
LEVEL = 0.95
"""Of the intervals."""
POWER = 0.8
"""Probability with which an experiment of the size that `deciding` names decides a claim."""
MOST_FREEDOM = 1.25
"""Degrees of freedom at most, as a multiple of those of the seeds. Chosen by simulation, at 5 % and at 0.5 %."""
NOTHING = 1e-20
"""A variance below it comes from rounding."""
MOST_SEEDS = 200
"""No larger number of seeds is proposed."""
FACTORS = (1.0, 1.5, 2.0, 3.0, 5.0, 10.0, 20.0, 50.0, 100.0)
"""Multiples of the questions that are considered."""


@dataclass(frozen=True)
class Effect:
    """A mean over benchmarks, seeds and questions, as a fraction of 1, with its variance by source."""

    mean: float
    seeds: int
    questions: tuple[int, ...]
    """Of each benchmark."""
    of_seeds: float
    """Var(a): of the mean over benchmarks, from seed to seed. The estimate may be negative, as unbiased ones are."""
    of_questions: tuple[float, ...]
    """Var(b) of each benchmark."""
    of_rest: tuple[float, ...]
    """Var(e) of each benchmark."""

    @property
    def variance(self) -> float:
        """Of the mean. The part of the seeds is taken as at least a quarter of its least expectation, the rest's part:
        few seeds with few answers may agree by chance."""
        return max(self._of_seeds, self._rest / self.seeds / 4) + self._of_questions

    @property
    def freedom(self) -> float:
        """Degrees of freedom of the variance. With a single seed they are 0, and nothing is known beyond it.

        The variance over seeds counts with at least the rest's part, which is its least expectation. Without this, a
        variance that is small by chance makes intervals of three seeds cover too little.
        """
        if self.seeds < 2:
            return 0.0
        of_seeds = max(self._of_seeds, self._rest / self.seeds)
        parts = ((of_seeds, self.seeds - 1), (self._of_questions, min(self.questions) - 1))
        weights = sum(part**2 / freedom for part, freedom in parts if part and freedom)
        return (
            min((of_seeds + self._of_questions) ** 2 / weights, MOST_FREEDOM * (self.seeds - 1))
            if weights
            else math.inf
        )

    @property
    def _of_seeds(self) -> float:
        return (self.of_seeds + self._rest) / self.seeds

    @property
    def _rest(self) -> float:
        return sum(e / q for e, q in zip(self.of_rest, self.questions, strict=True)) / len(self.questions) ** 2

    @property
    def _of_questions(self) -> float:
        return sum(b / q for b, q in zip(self.of_questions, self.questions, strict=True)) / len(self.questions) ** 2

    def interval(self, level: float = LEVEL) -> tuple[float, float]:
        """Ends of the two-sided interval; infinite with a single seed."""
        if not self.freedom:
            return -math.inf, math.inf
        half = quantile(0.5 + level / 2, self.freedom) * math.sqrt(self.variance)
        return self.mean - half, self.mean + half

    @property
    def p_value(self) -> float:
        """Two-sided, of a mean of zero; 1 with a single seed, and where nothing varies, so that nothing is known."""
        if not self.freedom or self.variance < NOTHING:
            return 1.0
        return two_sided(self.mean / math.sqrt(self.variance), self.freedom)

    def decides(self, effect: float, alpha: float) -> bool:
        """Whether an experiment of this size decides a true difference of `effect` with a probability of POWER."""
        if not self.freedom:
            return False
        needed = quantile(1 - alpha / 2, self.freedom) + NormalDist().inv_cdf(POWER)
        return abs(effect) >= needed * math.sqrt(self.variance)


def effect(differences: Sequence[Differences]) -> Effect:
    """The effect in the mean over benchmarks. `differences` has an array [S, Q] for each, of the same seeds."""
    seeds = len(differences[0])
    questions = tuple(each.shape[1] for each in differences)
    means = np.mean([each.mean(axis=1) for each in differences], axis=0)
    of_rest = tuple(map(_interaction, differences))
    rest = sum(e / q for e, q in zip(of_rest, questions, strict=True)) / len(questions) ** 2
    of_seeds = _variance(means) - rest
    of_questions = tuple(
        max(0.0, _variance(each.mean(axis=0)) - e / seeds) for each, e in zip(differences, of_rest, strict=True)
    )
    return Effect(float(means.mean()), seeds, questions, of_seeds, of_questions, of_rest)


def _variance(values: npt.NDArray[np.float64]) -> float:
    return float(values.var(ddof=1)) if len(values) > 1 else 0.0


def _interaction(values: Differences) -> float:
    """Mean square of what neither seed nor question explains."""
    seeds, questions = values.shape
    if seeds < 2 or questions < 2:
        return 0.0
    rest = values - values.mean(axis=1, keepdims=True) - values.mean(axis=0) + values.mean()
    return float((rest**2).sum() / ((seeds - 1) * (questions - 1)))


def deciding(found: Effect, size: float, alpha: float) -> tuple[int | None, float | None]:
    """What would decide a true difference of `size`: (seeds with these questions, times these questions with these
    seeds). None where no number does, and with fewer than two seeds, whose variance is not known."""
    if found.seeds < 2:
        return None, None
    found = replace(found, of_seeds=max(0.0, found.of_seeds))
    more_seeds = (replace(found, seeds=seeds) for seeds in range(max(2, found.seeds), MOST_SEEDS + 1))
    seeds = next((each.seeds for each in more_seeds if each.decides(size, alpha)), None)
    for factor in FACTORS:
        if replace(found, questions=tuple(math.ceil(q * factor) for q in found.questions)).decides(size, alpha):
            return seeds, factor
    return seeds, None
