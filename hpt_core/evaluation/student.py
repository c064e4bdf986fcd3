"""Student's t distribution, for any positive number of degrees of freedom."""

import math
from functools import lru_cache
from statistics import NormalDist

import mpmath

LARGE = 1e5
"""Degrees of freedom from which on it is the normal distribution."""


def two_sided(t: float, freedom: float) -> float:
    """Probability of a value at least as far from zero as `t`."""
    if freedom > LARGE:
        return math.erfc(abs(t) / math.sqrt(2))
    return float(mpmath.betainc(freedom / 2, 0.5, 0, freedom / (freedom + t * t), regularized=True))


@lru_cache(4096)
def quantile(share: float, freedom: float) -> float:
    """The value below which `share` of the distribution lies; `share` is at least one half."""
    if freedom > LARGE:
        return NormalDist().inv_cdf(share)
    low, high = 0.0, 1.0
    while two_sided(high, freedom) > 2 * (1 - share):
        low, high = high, 2 * high
    while high - low > 1e-9 * high:
        middle = (low + high) / 2
        low, high = (middle, high) if two_sided(middle, freedom) > 2 * (1 - share) else (low, middle)
    return (low + high) / 2
