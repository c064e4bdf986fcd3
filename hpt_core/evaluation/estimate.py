"""Estimates the cost of an evaluation from a pilot: every sample of a few questions of each benchmark."""

import math
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from statistics import fmean, variance

from hpt_core.base import Frozen
from hpt_core.evaluation.budget import Budget, Spent
from hpt_core.evaluation.shards import read_present
from hpt_core.evaluation.student import quantile
from hpt_core.evaluation.units import UnitPlan
from hpt_core.files import write_text


class UnitEstimate(Frozen):
    """The estimate for one model on one benchmark."""

    benchmark: str
    samples: int
    """Samples of the whole benchmark."""
    missing: int
    """Samples that do not exist yet."""
    responses: int
    """Responses to generate for them; at temperature 0 one per question."""
    questions: int
    """Questions in the pilot."""
    mean_tokens: float
    """Mean tokens of a response."""
    margin_tokens: float | None
    """Half of the 95 % interval of `mean_tokens`, over questions; None with one question."""
    prompt_tokens: int
    """Prompt tokens of the responses to generate, counted once per response."""
    tokens_per_second: float
    """Throughput of the sampling processes, over all benchmarks."""

    @property
    def tokens(self) -> float:
        """Tokens to generate."""
        return self.responses * self.mean_tokens


class Estimate(Frozen):
    """The remaining cost of a model's evaluation at the pilot's speed. A fuller batch is faster."""

    tokens: int
    """Tokens to generate."""
    tokens_low: int | None
    """95 % interval; None if a benchmark's pilot had one question."""
    tokens_high: int | None
    prompt_tokens: int
    seconds: float
    """Sampling time, summed over slices."""
    cost: float
    """Cost at the budget's prices; 0 if there are none."""


def write(plan: UnitPlan, questions: Sequence[int], spent: Spent) -> None:
    """Write a unit's estimate from the samples of the pilot's `questions`. `spent` covers all units so far."""
    table = read_present(plan.unit.output, plan.unit.work)
    lengths: dict[str, list[int]] = {}
    for question_id, tokens in zip(table["question_id"].to_pylist(), table["tokens"].to_pylist(), strict=True):
        lengths.setdefault(question_id, []).append(tokens)
    # Ignore questions that another run has finished: the first to finish are short, which would bias the mean.
    mean, margin = mean_of([fmean(lengths[plan.question_ids[number]]) for number in questions])
    left = [plan.unit.k - len(lengths.get(question_id, ())) for question_id in plan.question_ids]
    responses = [min(count, 1) if plan.greedy else count for count in left]
    estimate = UnitEstimate(
        benchmark=plan.unit.benchmark,
        samples=plan.samples,
        missing=sum(left),
        responses=sum(responses),
        questions=len(questions),
        mean_tokens=mean,
        margin_tokens=margin,
        prompt_tokens=sum(count * len(ids) for count, ids in zip(responses, plan.prompts, strict=True)),
        tokens_per_second=spent.tokens / spent.seconds if spent.seconds else 0.0,
    )
    write_text(file_of(plan.unit.work), estimate.model_dump_json() + "\n")


def file_of(work: Path) -> Path:
    """Path of a unit's estimate."""
    return work / "estimate.json"


def read_all(works: Mapping[str, Path]) -> dict[str, UnitEstimate]:
    """The estimates in the units' work folders, by key."""
    return {key: UnitEstimate.model_validate_json(file_of(work).read_bytes()) for key, work in works.items()}


def mean_of(means: Sequence[float]) -> tuple[float, float | None]:
    """Mean over questions, and half of its 95 % interval; None with one question."""
    if len(means) == 1:
        return means[0], None
    return fmean(means), quantile(0.975, len(means) - 1) * math.sqrt(variance(means) / len(means))


def whole(units: Iterable[UnitEstimate], budget: Budget) -> Estimate:
    """The remaining cost of all of a model's benchmarks, at the budget's prices."""
    found = [unit for unit in units if unit.missing]
    tokens = math.fsum(unit.tokens for unit in found)
    margins = [unit.responses * unit.margin_tokens for unit in found if unit.margin_tokens is not None]
    known = len(margins) == len(found)
    spread = math.hypot(*margins) if margins else 0.0
    prompt_tokens = sum(unit.prompt_tokens for unit in found)
    speed = max((unit.tokens_per_second for unit in found), default=0.0)
    seconds = tokens / speed if speed else 0.0
    return Estimate(
        tokens=round(tokens),
        tokens_low=max(0, round(tokens - spread)) if known else None,
        tokens_high=round(tokens + spread) if known else None,
        prompt_tokens=prompt_tokens,
        seconds=seconds,
        cost=Spent(round(tokens), prompt_tokens, seconds).cost(budget.prices),
    )
