"""Consistency of a model over the samples of a question: maj@k, G-pass@k, and the two sources of a score's variance."""

import math
import re
from collections import Counter
from collections.abc import Sequence
from fractions import Fraction
from typing import NamedTuple

_BLANK = re.compile(r"\s|\$|\\(?:left|right)(?![a-zA-Z])")
"""Text that is ignored when two wrong answers are compared."""


class Variance(NamedTuple):
    """Variance of a benchmark's mean, by source.

    The sum is the square of the clustered standard error, unless `questions` is estimated below 0; it is then set to 0.
    """

    questions: float
    """From the choice of questions; shrinks with more questions. NaN with one question or one sample per question."""
    samples: float
    """From the randomness of sampling; shrinks with more questions or samples. NaN with one sample per question."""


def g_pass_at_k(n: int, c: int, k: int, share: float) -> float:
    """Probability that at least max(1, ceil(share k)) of k samples are correct. The k are a random part of n samples,
    of which c are correct.

    Integer arithmetic up to one division, so it is exact for any n. With a share near 0 it equals pass@k. Raises
    ValueError unless 0 <= c <= n, 1 <= k <= n and 0 <= share <= 1. Source: Liu et al. 2024, "Are Your LLMs Capable of
    Stable Reasoning?".
    """
    if not (0 <= c <= n and 1 <= k <= n and 0 <= share <= 1):
        raise ValueError(f"G-pass@{k} needs 0 <= c <= n, 1 <= k <= n and a share, not n = {n}, c = {c}, {share}")
    return _at_least(n, c, k, max(1, math.ceil(Fraction(share).limit_denominator(1_000_000) * k)))


def mean_g_pass_at_k(n: int, c: int, k: int) -> float:
    """mG-pass@k: twice the integral of G-pass@k over shares from 1/2 to 1.

    G-pass@k is constant between multiples of 1/k, so the integral is a sum. For even k it equals the source's formula.
    """
    first = k // 2 + 1
    # For odd k, only half of the first step lies above 1/2.
    steps = (_at_least(n, c, k, i) * (0.5 if i == first and k % 2 else 1.0) for i in range(first, k + 1))
    return 2 / k * math.fsum(steps)


def _at_least(n: int, c: int, k: int, least: int) -> float:
    """Probability that k of n samples contain at least `least` of the c correct ones."""
    # At least k - (n - c) of k samples are correct, so with k = n only one term remains.
    held = range(max(least, k - (n - c)), min(c, k) + 1)
    found = sum(math.comb(c, j) * math.comb(n - c, k - j) for j in held)
    return found / math.comb(n, k)


def majority(answers: Sequence[str | None], correct: Sequence[bool]) -> float:
    """1 if the most frequent answer of a question's samples is correct, else 0. In a tie, the share of tied answers
    that are correct.

    Samples without an answer do not vote. All correct samples count as one answer, however they write it. Wrong answers
    count as one answer if their texts are equal, ignoring case, white space, dollar signs, `\\left` and `\\right`,
    `\\dfrac` for `\\frac` and a final period; comparing them by value would need a comparison for each pair. So a wrong
    answer with two spellings, such as 0.5 and 1/2, splits its votes while a correct answer does not, which biases the
    measure upward.
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
    """Sources of the variance of the mean over N questions, where `correct[i]` of the k samples of question i are
    correct.

    The variance from sampling is estimated without bias from each question's samples. The variance from questions is
    the rest of the variance of the mean, at least 0.
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
