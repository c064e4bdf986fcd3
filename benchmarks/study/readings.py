"""What a study measured: scores and training logs by method and seed, and the readings of its claims."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow.parquet as pq

from benchmarks.effects import LEVEL, Effect, deciding, effect
from benchmarks.significance import holm
from benchmarks.study.inputs import Benchmark, Claim, Declared, StudyInputs, Trial
from benchmarks.study.models import Trained, TrialResult, Validation, read_facts, read_models, trained
from hpt_core.errors import DataError

MATCHED = ("steps", "demonstration_tokens", "device_seconds")
"""Budgets at which each claim is read."""
VERDICTS = ("supported", "contradicted", "undecided")


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
    declared: tuple[Declared, ...] = ()
    """All versions of the claims, oldest first. The last is the present one."""
    trials: Mapping[str, TrialResult] = field(default_factory=dict)
    """Stage of a trial of the search -> its result."""

    @property
    def begun(self) -> list[datetime]:
        """When the trainings of each method and seed began, also of those that were not measured."""
        found = {(member.method, member.seed): member.begun for member in self.inputs.members}
        for model in (model for seeds in self.trained.values() for model in seeds.values()):
            found[model.method, model.seed] = model.begun
        return [time for time in found.values() if time is not None]

    def benchmarks(self, metric: str) -> list[Benchmark]:
        """The benchmarks of a metric."""
        return [b for b in self.inputs.benchmarks if metric in (b.name, b.group)]

    def score(self, method: str, metric: str) -> Effect | None:
        """A method's mean score over its seeds; None if the metric has no benchmark, or the method no model."""
        models = list(self.trained.get(method, {}).values())
        names = [b.name for b in self.benchmarks(metric)]
        return effect([np.stack([m.shares(name) for m in models]) for name in names]) if models and names else None

    def as_trained(self, claim: Claim) -> Effect | None:
        """The difference of the claim's methods on its benchmarks, over the seeds that both have."""
        pairs = self._pairs(claim)
        names = [b.name for b in self.benchmarks(claim.metric)]
        if not pairs or not names:
            return None
        return effect([np.stack([a.shares(name) - b.shares(name) for a, b in pairs]) for name in names])

    def matched(self, claim: Claim, budget: str) -> Effect | None:
        """The difference on the held-out questions when both have spent what the cheaper one spends in all.

        None for seeds without a validation by then, or with other held-out questions.
        """
        found: dict[str, list[npt.NDArray[np.float64]]] = {}
        for one, other in self._pairs(claim):
            limit = min(_total(one, budget), _total(other, budget))
            first, second = (_latest(each, budget, limit) for each in (one, other))
            if first is not None and second is not None and first.held_out == second.held_out:
                found.setdefault(first.held_out, []).append(first.rewards - second.rewards)
        # Seeds that validate on other questions than most cannot be read together with them.
        return effect([np.stack(max(found.values(), key=len))]) if found else None

    def _pairs(self, claim: Claim) -> list[tuple[Trained, Trained]]:
        one, other = (self.trained.get(name, {}) for name in (claim.method, claim.than))
        return [(one[seed], other[seed]) for seed in sorted(one.keys() & other.keys())]


def _total(trained: Trained, budget: str) -> float:
    return float(trained.spent[budget][-1]) if len(trained.spent[budget]) else 0.0


def _latest(trained: Trained, budget: str, limit: float) -> Validation | None:
    """The last validation that was reached within the limit."""
    return next((v for v in reversed(trained.validated) if trained.spent[budget][v.step] <= limit), None)


def measure(inputs: StudyInputs) -> Measured:
    """Read all verdicts and logs, and the tables from elsewhere. Raises DataError."""
    found: dict[str, dict[int, Trained]] = {}
    for member in inputs.members:
        if member.verdicts is not None:
            found.setdefault(member.method, {})[member.seed] = trained(member, inputs.benchmarks)
    declared = {each.fingerprint: each for each in inputs.declared}
    every = {trial.stage: trial for trials in inputs.search.values() for trial in trials}
    trials = {
        stage: TrialResult(fingerprint=trial.fingerprint, reward=reward)
        for stage, trial in every.items()
        if (reward := _reward(trial)) is not None
    }
    fingerprints = {(member.method, member.seed): member.fingerprint for member in inputs.members}
    for folder in inputs.elsewhere:
        for model in read_models(folder):
            if fingerprints.get((model.method, model.seed)) == model.fingerprint:
                found.setdefault(model.method, {}).setdefault(model.seed, model)
        facts = read_facts(folder)
        for stage, result in facts.trials.items():
            if stage in every and every[stage].fingerprint == result.fingerprint:
                trials.setdefault(stage, result)
        for other in facts.declared:
            known = declared.setdefault(other.fingerprint, other)
            declared[other.fingerprint] = min(known, other, key=lambda each: each.time)
    # In the config's order, and the seeds in theirs.
    found = {
        name: dict(sorted(found[name].items()))
        for name in dict.fromkeys(m.method for m in inputs.members)
        if name in found
    }
    asked: dict[str, tuple[str, int]] = {}
    for model in (model for seeds in found.values() for model in seeds.values()):
        for b in inputs.benchmarks:
            if b.name not in model.correct:
                raise DataError(f"{model.stage} of {model.where} was not measured on {b.name}", "evaluate it again")
            size = model.asked[b.name], model.k[b.name]
            if asked.setdefault(b.name, size) != size:
                raise DataError(f"models answered different questions of {b.name}", "evaluate all of them again")
    now = inputs.declared[-1].fingerprint
    versions = sorted(declared.values(), key=lambda each: (each.fingerprint == now, each.time))
    return Measured(inputs, found, tuple(versions), trials)


def _reward(trial: Trial) -> float | None:
    """The last validation's reward of a trial; None if its log is missing, or has none."""
    if trial.log is None:
        return None
    rewards = pq.read_table(trial.log, columns=["validation_reward"]).column(0).to_pylist()
    return next((float(reward) for reward in reversed(rewards) if reward == reward), None)


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
