"""How steady a model is over a question's samples: maj@k, G-pass@k, and the two sources of a score's variance."""

import math
import re
from collections import Counter
from collections.abc import Sequence
from fractions import Fraction
from typing import NamedTuple

_BLANK = re.compile(r"\s|\$|\\(?:left|right)(?![a-zA-Z])")
"""What a wrong answer's text may hold without being another answer."""


class Variance(NamedTuple):
    """Variance of a benchmark's mean, by source.

    The two add up to the square of its clustered standard error, unless `questions` is estimated below 0: it is 0 then.
    """

    questions: float
    """From which questions were asked: it shrinks with more of them. NaN where there is one question or one sample."""
    samples: float
    """From which samples were sampled: it shrinks with more of either. NaN where a question has one sample."""


def g_pass_at_k(n: int, c: int, k: int, share: float) -> float:
    """The chance that at least ceil(share k) of k samples are correct, sampled from n of which c are; at least one is.

    Whole-number arithmetic up to one division, so it is exact for any n; with a share near 0 it is pass@k. Raises
    ValueError unless 0 <= c <= n, 1 <= k <= n and 0 <= share <= 1. Source: Liu et al. 2024, "Are Your LLMs Capable of
    Stable Reasoning?".
    """
    if not (0 <= c <= n and 1 <= k <= n and 0 <= share <= 1):
        raise ValueError(f"G-pass@{k} needs 0 <= c <= n, 1 <= k <= n and a share, not n = {n}, c = {c}, {share}")
    return _at_least(n, c, k, max(1, math.ceil(Fraction(share).limit_denominator(1_000_000) * k)))


def mean_g_pass_at_k(n: int, c: int, k: int) -> float:
    """mG-pass@k: twice the integral of G-pass@k over shares from 1/2 to 1.

    It is constant between multiples of 1/k, so the integral is a sum; for even k it is the source's own formula.
    """
    first = k // 2 + 1
    # Of an odd k only half of the first step lies above 1/2.
    steps = (_at_least(n, c, k, i) * (0.5 if i == first and k % 2 else 1.0) for i in range(first, k + 1))
    return 2 / k * math.fsum(steps)


def _at_least(n: int, c: int, k: int, least: int) -> float:
    """The chance that k of n samples hold at least `least` of the c correct ones."""
    # Among k samples at least k - (n - c) are correct: with k = n one term is left.
    held = range(max(least, k - (n - c)), min(c, k) + 1)
    found = sum(math.comb(c, j) * math.comb(n - c, k - j) for j in held)
    return found / math.comb(n, k)


def majority(answers: Sequence[str | None], correct: Sequence[bool]) -> float:
    """1 where the most frequent answer of a question's samples is correct, else 0; a tie counts with the correct share.

    Samples without an answer do not vote. All correct samples are one answer, however they write it. Wrong answers are
    one where their texts are the same but for case, white space, dollar signs, `\\left` and `\\right`, `\\dfrac` for
    `\\frac` and a final stop: comparing them by value would cost a comparison for each pair. So a wrong answer that is
    written in other ways, such as 0.5 and 1/2, divides its votes where a correct one does not, and the measure is
    biased upward.
    """
    votes: Counter[str | None] = Counter()
    for answer, right in zip(answers, correct, strict=True):
        if right:
            votes[None] += 1
        elif answer is not None:
            votes[_plain(answer)] += 1
    if not votes:
        return 0.0
    most = max(votes.values())
    leaders = sum(count == most for count in votes.values())
    return (votes[None] == most) / leaders


def _plain(answer: str) -> str:
    return _BLANK.sub("", answer).casefold().replace(r"\dfrac", r"\frac").removesuffix(".")


def variance(correct: Sequence[int], k: int) -> Variance:
    """Sources of the variance of the mean over N questions, `correct[i]` of whose k samples are correct.

    A question's own variance is estimated from its samples without bias; what the spread of the questions' means has
    beyond it is theirs, 0 where the estimate falls below.
    """
    n = len(correct)
    if k < 2:
        return Variance(math.nan, math.nan)
    means = [c / k for c in correct]
    of_samples = math.fsum(m * (1 - m) / (k - 1) for m in means) / n**2
    if n < 2:
        return Variance(math.nan, of_samples)
    center = math.fsum(means) / n
    total = math.fsum((m - center) ** 2 for m in means) / (n * (n - 1))
    return Variance(max(0.0, total - of_samples), of_samples)
