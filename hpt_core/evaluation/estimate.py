"""What an evaluation will take, from a pilot: every sample of a few questions of each benchmark."""

import math
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from statistics import fmean, variance

from hpt_core.base import Frozen
from hpt_core.errors import DataError
from hpt_core.evaluation.budget import Budget, Spent
from hpt_core.evaluation.journal import read
from hpt_core.evaluation.units import UnitPlan
from hpt_core.files import write_text

NORMAL_95 = 1.96
"""Two-sided 95 % quantile of the normal distribution."""


class UnitEstimate(Frozen):
    """One model on one benchmark."""

    benchmark: str
    samples: int
    """Of the whole benchmark."""
    missing: int
    """Of those, the ones that are not drawn yet."""
    questions: int
    """Questions whose samples are all there: what the estimate rests on."""
    mean_tokens: float
    """Of a response."""
    stderr_tokens: float | None
    """Standard error of that, over questions; None where there are fewer than two."""
    prompt_tokens: int
    """Of the samples that are missing, each sample's prompt counted."""
    tokens_per_second: float
    """Of the processes that drew the samples, all their benchmarks together."""


class Estimate(Frozen):
    """What is left of a model's evaluation. It goes by the pilot's speed; a fuller batch is faster."""

    tokens: int
    """Tokens to be generated."""
    tokens_low: int
    """95 % interval."""
    tokens_high: int
    prompt_tokens: int
    seconds: float
    """Of drawing, added up over slices."""
    cost: float
    """By the budget's prices; 0 where there are none."""


def file_of(work: Path) -> Path:
    """Where a pilot leaves a unit's estimate."""
    return work / "estimate.json"


def write(plan: UnitPlan) -> None:
    """Write the estimate of a unit. Raises DataError where no question has all its samples."""
    lengths: dict[str, list[int]] = {}
    sessions: dict[str, tuple[int, float]] = {}
    for entry in read(plan.journal):
        lengths.setdefault(entry.row["question_id"], []).append(entry.row["tokens"])
        before, at = sessions.get(entry.session, (0, 0.0))
        sessions[entry.session] = max(before, entry.drawn), max(at, entry.at)
    whole = {question_id: found for question_id, found in lengths.items() if len(found) >= plan.unit.k}
    if not whole:
        raise DataError(f"the pilot drew nothing of {plan.unit.benchmark}", "evaluate it, or give more questions")
    mean, stderr = mean_of([fmean(tokens) for tokens in whole.values()])
    drawn = sum(tokens for tokens, _ in sessions.values())
    seconds = sum(at for _, at in sessions.values())
    numbers = {question_id: n for n, question_id in enumerate(plan.question_ids)}
    missing = plan.samples - sum(min(len(found), plan.unit.k) for found in lengths.values())
    there = {numbers[question_id] for question_id in whole}
    rest = [len(ids) for number, ids in enumerate(plan.prompts) if number not in there]
    estimate = UnitEstimate(
        benchmark=plan.unit.benchmark,
        samples=plan.samples,
        missing=missing,
        questions=len(whole),
        mean_tokens=mean,
        stderr_tokens=stderr,
        prompt_tokens=round(missing * fmean(rest)) if missing and rest else 0,
        tokens_per_second=drawn / seconds if seconds else 0.0,
    )
    write_text(file_of(plan.unit.work), estimate.model_dump_json() + "\n")


def mean_of(means: Sequence[float]) -> tuple[float, float | None]:
    """Mean over questions, and its standard error; None where there are fewer than two questions."""
    return fmean(means), math.sqrt(variance(means) / len(means)) if len(means) > 1 else None


def whole(units: Iterable[UnitEstimate], budget: Budget) -> Estimate:
    """What is left of all of a model's benchmarks, at the prices of its budget."""
    found = [unit for unit in units if unit.missing]
    tokens = math.fsum(unit.missing * unit.mean_tokens for unit in found)
    spread = NORMAL_95 * math.hypot(*(unit.missing * (unit.stderr_tokens or 0.0) for unit in found)) if found else 0.0
    prompt_tokens = sum(unit.prompt_tokens for unit in found)
    speed = min((unit.tokens_per_second for unit in found), default=0.0)
    seconds = tokens / speed if speed else 0.0
    return Estimate(
        tokens=round(tokens),
        tokens_low=max(0, round(tokens - spread)),
        tokens_high=round(tokens + spread),
        prompt_tokens=prompt_tokens,
        seconds=round(seconds, 1),
        cost=Spent(round(tokens), prompt_tokens, seconds).cost(budget.prices),
    )


def read_all(works: Mapping[str, Path]) -> dict[str, UnitEstimate]:
    """The estimates that a pilot left in the units' work folders, by key."""
    return {key: UnitEstimate.model_validate_json(file_of(work).read_bytes()) for key, work in works.items()}
