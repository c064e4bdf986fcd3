"""What a study measured: scores and training logs by method and seed, and the readings of its claims."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow.parquet as pq

from benchmarks.report.measured import read_table
from benchmarks.significance import holm
from benchmarks.study.effects import LEVEL, Effect, deciding, effect
from benchmarks.study.inputs import Benchmark, Claim, Member, StudyInputs, Trial
from hpt_core import schemas
from hpt_core.errors import DataError
from hpt_core.evaluation.metrics import question_counts

BUDGETS = {
    "steps": "steps",
    "demonstration_tokens": "demonstration tokens",
    "generated_tokens": "generated tokens",
    "trained_tokens": "trained tokens",
    "device_seconds": "device-seconds",
}
"""Budget -> its name in words."""
MATCHED = ("steps", "demonstration_tokens", "device_seconds")
"""Budgets at which each claim is read."""
VERDICTS = ("supported", "contradicted", "undecided")


@dataclass(frozen=True)
class Trained:
    """A method with one seed: what it scored, and what it took."""

    member: Member
    shares: Mapping[str, npt.NDArray[np.float64]]
    """Benchmark -> [Q] share of correct samples, in the order of the question ids."""
    correct: Mapping[str, npt.NDArray[np.int64]]
    """Benchmark -> [Q] correct samples."""
    spent: Mapping[str, npt.NDArray[np.float64]]
    """Budget -> [T] sum up to each step, over all stages after the base."""
    curves: Mapping[str, npt.NDArray[np.float64]]
    """Column of the training log -> [T]."""
    validated: Sequence[tuple[int, npt.NDArray[np.float64]]]
    """(index of a step, [V] rewards of the held-out questions)."""


class Reading(NamedTuple):
    """A claim at one budget, or as the methods were trained."""

    budget: str
    """A budget at which both methods are compared; "" for the models as trained, on the benchmarks."""
    found: Effect | None
    """None if no two models with one seed can be compared."""
    p_holm: float
    verdict: str
    needs: tuple[int | None, float | None] = (None, None)
    """(seeds, times the questions) that would decide a difference of the claim's effect."""


@dataclass(frozen=True)
class Measured:
    """All methods of a study."""

    inputs: StudyInputs
    trained: Mapping[str, Mapping[int, Trained]] = field(default_factory=dict)
    """Method -> seed -> its model. Methods and seeds without scores are left out."""

    def benchmarks(self, metric: str) -> list[Benchmark]:
        """The benchmarks of a metric."""
        return [b for b in self.inputs.benchmarks if metric in (b.name, b.group)]

    def score(self, method: str, metric: str) -> Effect | None:
        """A method's mean score over its seeds; None if the metric has no benchmark, or the method no model."""
        models = list(self.trained.get(method, {}).values())
        names = [b.name for b in self.benchmarks(metric)]
        return effect([np.stack([m.shares[name] for m in models]) for name in names]) if models and names else None

    def as_trained(self, claim: Claim) -> Effect | None:
        """The difference of the claim's methods on its benchmarks, over the seeds that both have."""
        pairs = self._pairs(claim)
        names = [b.name for b in self.benchmarks(claim.metric)]
        if not pairs or not names:
            return None
        return effect([np.stack([a.shares[name] - b.shares[name] for a, b in pairs]) for name in names])

    def matched(self, claim: Claim, budget: str) -> Effect | None:
        """The difference on the held-out questions when both have spent what the cheaper one spends in all.

        None for seeds without a validation by then, or with other held-out questions.
        """
        found = []
        for one, other in self._pairs(claim):
            limit = min(_total(one, budget), _total(other, budget))
            first, second = (_latest(each, budget, limit) for each in (one, other))
            if first is not None and second is not None and len(first) == len(second):
                found.append(first - second)
        return effect([np.stack(found)]) if found else None

    def _pairs(self, claim: Claim) -> list[tuple[Trained, Trained]]:
        one, other = (self.trained.get(name, {}) for name in (claim.method, claim.than))
        return [(one[seed], other[seed]) for seed in sorted(one.keys() & other.keys())]


def _total(trained: Trained, budget: str) -> float:
    return float(trained.spent[budget][-1]) if len(trained.spent[budget]) else 0.0


def _latest(trained: Trained, budget: str, limit: float) -> npt.NDArray[np.float64] | None:
    """The rewards of the last validation that was reached within the limit."""
    return next((r for step, r in reversed(trained.validated) if trained.spent[budget][step] <= limit), None)


def search_reward(trial: Trial) -> float | None:
    """The last validation's reward of a trial; None if its log is missing, or has none."""
    if trial.log is None:
        return None
    rewards = pq.read_table(trial.log, columns=["validation_reward"]).column(0).to_pylist()
    return next((float(reward) for reward in reversed(rewards) if reward == reward), None)


def measure(inputs: StudyInputs) -> Measured:
    """Read all verdicts and logs. Raises DataError."""
    found: dict[str, dict[int, Trained]] = {}
    for member in inputs.members:
        if member.verdicts is not None:
            found.setdefault(member.method, {})[member.seed] = _trained(member, inputs.benchmarks)
    asked: dict[str, int] = {}
    for model in (model for seeds in found.values() for model in seeds.values()):
        for name, shares in model.shares.items():
            if asked.setdefault(name, len(shares)) != len(shares):
                raise DataError(f"models answered different questions of {name}", "evaluate all of them again")
    return Measured(inputs, found)


def _trained(member: Member, benchmarks: Iterable[Benchmark]) -> Trained:
    assert member.verdicts is not None
    correct, shares = {}, {}
    for b in benchmarks:
        counts = question_counts(read_table(member.verdicts[b.name], schemas.VERDICTS), b.k)
        correct[b.name] = np.array([counts[q][0] for q in sorted(counts)])
        shares[b.name] = correct[b.name] / b.k
    rows = [row for log in member.logs for row in pq.read_table(log).to_pylist()]
    spent = {name: np.cumsum([1.0 if name == "steps" else float(row[name]) for row in rows]) for name in BUDGETS}
    validated = [(i, np.array(r)) for i, row in enumerate(rows) if (r := row["validation_rewards"])]
    names = ("demonstration_share", "entropy", "response_tokens", "truncated_share", "validation_reward")
    curves = {name: np.array([row[name] for row in rows], dtype=float) for name in names}
    return Trained(member, shares, correct, spent, curves, validated)


def read_claims(measured: Measured) -> list[dict[str, Reading]]:
    """The readings of each claim: "" as trained, and at each budget of MATCHED. Each kind of reading is corrected for
    the number of claims (Holm)."""
    claims = measured.inputs.claims
    found: list[dict[str, Reading]] = [{} for _ in claims]
    for budget in ("", *MATCHED):
        effects = [measured.matched(c, budget) if budget else measured.as_trained(c) for c in claims]
        corrected = holm([1.0 if each is None else each.p_value for each in effects])
        for place, (claim, each, p) in enumerate(zip(claims, effects, corrected, strict=True)):
            found[place][budget] = _reading(claim, budget, each, p, len(claims))
    return found


def _reading(claim: Claim, budget: str, found: Effect | None, p_holm: float, claims: int) -> Reading:
    if found is None:
        return Reading(budget, None, 1.0, "undecided")
    if p_holm < 1 - LEVEL:
        return Reading(budget, found, p_holm, VERDICTS[(found.mean > 0) != (claim.direction == "higher")])
    return Reading(budget, found, p_holm, "undecided", deciding(found, claim.effect, (1 - LEVEL) / claims))
