"""Scores from verdicts: avg@k, pass@k, clustered errors, intervals, shares, group averages. Pure functions.

The k samples of a question are correlated, so errors and intervals are computed over per-question means. A sample whose
gold answer cannot be read counts as not correct; the share of such samples is reported beside the score.
"""

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import pyarrow as pa

from hpt_core.errors import DataError
from hpt_core.evaluation.consistency import Variance, g_pass_at_k, majority, mean_g_pass_at_k, variance
from hpt_core.verifiers.base import Outcome

Z = 1.959963984540054
"""97.5 % quantile of the normal distribution: two-sided 95 %."""
CUT = 0.05
"""Share of truncated samples from which on a score is marked."""


class Interval(NamedTuple):
    """Ends of a 95 % interval, within [0, 1]."""

    low: float
    high: float


class ScoreInterval(NamedTuple):
    """A score and the ends of its 95 % interval, as fractions of 1."""

    mean: float
    low: float
    high: float


G_PASS_SHARES = (0.25, 0.5, 0.75, 1.0)
"""Shares of correct samples for which G-pass@k is reported."""


class GPassAt(NamedTuple):
    """G-pass@k at one share of correct samples."""

    share: float
    value: float


@dataclass(frozen=True, slots=True)
class Score:
    """One model on one benchmark; scores and shares are fractions of 1."""

    benchmark: str
    questions: int
    k: int
    """Samples per question."""
    mean: float
    """avg@k: mean over questions of the share of correct samples; pass@1 if k is 1."""
    stderr: float
    """Standard error of `mean`, clustered by question; NaN with one question."""
    low: float
    high: float
    """95 % interval of `mean`."""
    pass_at: tuple[float, ...]
    """Unbiased pass@j for j = 1 to k, in order."""
    majority: float
    """maj@k: share of questions whose most frequent answer is correct."""
    g_pass_at: tuple[GPassAt, ...]
    """G-pass@k: share of questions with at least the given share of correct samples among the k."""
    mean_g_pass: float
    """mG-pass@k."""
    variance: Variance
    """Variance of `mean`, by source."""
    values: tuple[float, ...]
    """Share of correct samples of each question, in order."""
    truncated: float
    """Share of samples that reached the token limit."""
    repetition: float
    """Share of samples stopped for repetition."""
    no_answer: float
    timeout: float
    crash: float
    gold_error: float
    """Shares of samples with that outcome."""
    mean_tokens: float
    """Generated tokens per sample."""


@dataclass(frozen=True, slots=True)
class Average:
    """Unweighted mean over the benchmarks of a group, as in the paper's tables."""

    benchmarks: tuple[str, ...]
    mean: float
    stderr: float
    low: float
    high: float
    """95 % interval of `mean`."""


def solves(correct: int, samples: int) -> bool:
    """Whether a model solves a question: more than half of its samples are correct."""
    return 2 * correct > samples


def pass_at_k(n: int, c: int, k: int) -> float:
    """1 - C(n-c, k) / C(n, k): the probability that k of n samples, c of them correct, contain a correct one.

    Integer arithmetic up to one correctly rounded division, so it is exact for any n. Raises ValueError unless 0 <= c
    <= n and 1 <= k <= n. Source: Chen et al. 2021, "Evaluating Large Language Models Trained on Code".
    """
    if not (0 <= c <= n and 1 <= k <= n):
        raise ValueError(f"pass@{k} needs 0 <= c <= n and 1 <= k <= n, not n = {n}, c = {c}")
    total = math.comb(n, k)
    return (total - math.comb(n - c, k)) / total


def pass_curve(correct: Sequence[int], n: int) -> tuple[float, ...]:
    """pass@k of a benchmark for k = 1 to n: the mean over questions. `correct[i]` of the n samples of question i are
    correct.

    C(m, k + 1) is computed from C(m, k) by one product and one division, so n = 2048 takes milliseconds and stays
    exact.
    """
    questions = Counter(correct)
    of_all = _binomials(n, n)
    curves = {}
    for c in questions:
        missed = _binomials(n - c, n)
        curves[c] = [(total - miss) / total for total, miss in zip(of_all, missed, strict=True)]
    return tuple(math.fsum(curves[c][k] * times for c, times in questions.items()) / len(correct) for k in range(n))


def _binomials(m: int, n: int) -> list[int]:
    """C(m, k) for k = 1 to n."""
    found, last = [], 1
    for k in range(n):
        last = last * (m - k) // (k + 1)
        found.append(last)
    return found


def clustered_stderr(values: Sequence[float]) -> float:
    """Standard error of the mean of per-question values; NaN with one question."""
    if len(values) < 2:
        return math.nan
    mean = math.fsum(values) / len(values)
    return math.sqrt(_squares(values, mean) / (len(values) * (len(values) - 1)))


def _squares(values: Sequence[float], center: float) -> float:
    """Sum of the squared distances to `center`. The values are shares of k samples, so there are few different ones."""
    return math.fsum(count * (value - center) ** 2 for value, count in Counter(values).items())


def interval(values: Sequence[float]) -> Interval:
    """95 % interval of the mean of per-question values in [0, 1]: Wilson's, with an effective number of questions.

    With one sample per question this is Wilson's interval over N questions. With several samples, a question's mean
    carries more information than one coin toss, and the effective number is N divided by the design effect: the ratio
    of the clustered variance to that of a coin. Both variances are computed with z^2 / 2 fully correct and z^2 / 2
    fully wrong questions added (as in Agresti and Coull). This keeps the ratio defined at 0 and 1 and continuous near
    them, where a clustered normal or a bootstrap interval has zero width. The interval always contains the mean and
    never has zero width.
    """
    n = len(values)
    mean = math.fsum(values) / n
    added = Z * Z / 2
    center = (n * mean + added) / (n + 2 * added)
    spread = _squares(values, center) + added * ((1 - center) ** 2 + center**2)
    design_effect = spread / ((n + 2 * added) * center * (1 - center))
    return _wilson(mean, n / design_effect)


def _wilson(mean: float, n: float) -> Interval:
    center = (mean + Z * Z / (2 * n)) / (1 + Z * Z / n)
    half = Z * math.sqrt(mean * (1 - mean) / n + Z * Z / (4 * n * n)) / (1 + Z * Z / n)
    return Interval(max(0.0, min(mean, center - half)), min(1.0, max(mean, center + half)))


def question_counts(verdicts: pa.Table, k: int) -> dict[str, tuple[int, int]]:
    """Question id -> (correct samples, k), in the table's order of questions.

    verdicts: schema VERDICTS. Raises DataError unless every question has exactly the samples 0 to k - 1, because a
    score over another number of samples would be wrong without notice.
    """
    correct: Counter[str] = Counter()
    seen: dict[str, set[int]] = {}
    columns = (verdicts.column(name).to_pylist() for name in ("question_id", "sample_index", "outcome"))
    for question_id, index, outcome in zip(*columns, strict=True):
        indices = seen.setdefault(question_id, set())
        if index in indices:
            raise DataError(f"question {question_id} has sample {index} twice", "sample and grade again")
        indices.add(index)
        correct[question_id] += outcome == Outcome.CORRECT
    require_k({question_id: sorted(indices) for question_id, indices in seen.items()}, k)
    return {question_id: (correct[question_id], k) for question_id in seen}


def require_k(indices: Mapping[str, Sequence[int]], k: int) -> None:
    """Raise DataError unless every question has exactly the sample indices 0 to k - 1."""
    for question_id, found in indices.items():
        if list(found) != list(range(k)):
            raise DataError(
                f"question {question_id} has {len(found)} samples (indices {_short(found)}) where {k} are expected",
                "sample it again, or set k to what was sampled",
            )


def score(benchmark: str, samples: pa.Table, verdicts: pa.Table, k: int) -> Score:
    """The score of one model on one benchmark.

    samples, verdicts: schemas SAMPLES and VERDICTS, in the same order. Raises DataError if there is no sample, the
    tables do not match, or a question does not have exactly k samples.
    """
    if samples.num_rows == 0:
        raise DataError(f"benchmark {benchmark} has no samples", "sample it again")
    for column in ("question_id", "sample_index"):
        if samples.column(column).to_pylist() != verdicts.column(column).to_pylist():
            raise DataError(f"benchmark {benchmark}: samples and verdicts differ in {column}", "grade it again")
    correct = [c for c, _ in question_counts(verdicts, k).values()]
    values = [c / k for c in correct]
    outcomes = Counter(verdicts.column("outcome").to_pylist())
    finishes = Counter(samples.column("finish_reason").to_pylist())
    rows = samples.num_rows
    low, high = interval(values)
    return Score(
        benchmark=benchmark,
        questions=len(values),
        k=k,
        mean=math.fsum(values) / len(values),
        stderr=clustered_stderr(values),
        low=low,
        high=high,
        pass_at=pass_curve(correct, k),
        majority=_majority(verdicts),
        g_pass_at=tuple(
            GPassAt(share, math.fsum(g_pass_at_k(k, c, k, share) for c in correct) / len(correct))
            for share in G_PASS_SHARES
        ),
        mean_g_pass=math.fsum(mean_g_pass_at_k(k, c, k) for c in correct) / len(correct),
        variance=variance(correct, k),
        values=tuple(values),
        truncated=finishes["length"] / rows,
        repetition=finishes["repetition"] / rows,
        no_answer=outcomes[Outcome.NO_ANSWER] / rows,
        timeout=outcomes[Outcome.TIMEOUT] / rows,
        crash=outcomes[Outcome.CRASH] / rows,
        gold_error=outcomes[Outcome.GOLD_ERROR] / rows,
        mean_tokens=math.fsum(samples.column("tokens").to_pylist()) / rows,
    )


def group_average(scores: Sequence[Score]) -> Average:
    """The unweighted mean over benchmarks, whose scores are treated as independent.

    Raises ValueError if there is no score.
    """
    found = combined([ScoreInterval(s.mean, s.low, s.high) for s in scores])
    return Average(
        benchmarks=tuple(s.benchmark for s in scores),
        mean=found.mean,
        stderr=math.hypot(*(s.stderr for s in scores)) / len(scores),
        low=found.low,
        high=found.high,
    )


def combined(estimates: Sequence[ScoreInterval]) -> ScoreInterval:
    """The unweighted mean of independent estimates.

    The interval combines theirs: on each side, the distances to the mean add in quadrature (Zou and Donner 2008). So it
    keeps their asymmetry and never has zero width. Raises ValueError if there is no estimate.
    """
    if not estimates:
        raise ValueError("an average needs at least one score")
    count = len(estimates)
    mean = math.fsum(e.mean for e in estimates) / count
    return ScoreInterval(
        mean,
        low=max(0.0, mean - math.hypot(*(e.mean - e.low for e in estimates)) / count),
        high=min(1.0, mean + math.hypot(*(e.high - e.mean for e in estimates)) / count),
    )


def estimate(values: Sequence[float]) -> ScoreInterval:
    """The mean of per-question values in [0, 1] and its 95 % interval."""
    return ScoreInterval(math.fsum(values) / len(values), *interval(values))


def _majority(verdicts: pa.Table) -> float:
    """maj@k, independent of the order of the verdicts."""
    answers: dict[str, list[str | None]] = {}
    right: dict[str, list[bool]] = {}
    columns = (verdicts.column(name).to_pylist() for name in ("question_id", "extracted", "outcome"))
    for question_id, answer, outcome in zip(*columns, strict=True):
        answers.setdefault(question_id, []).append(answer)
        right.setdefault(question_id, []).append(outcome == Outcome.CORRECT)
    return math.fsum(majority(answers[question_id], right[question_id]) for question_id in answers) / len(answers)


def _short(indices: Sequence[int]) -> str:
    shown = ", ".join(map(str, indices[:8]))
    return f"{shown} ..." if len(indices) > 8 else shown
