"""How long a run will take and what it will cost, from the manifests of earlier artifacts."""

from collections.abc import Mapping
from dataclasses import dataclass

from flows.graph import Plan, Planned
from hpt_core.artifacts import Manifest
from tasks.execution.context import Context
from tasks.execution.differences import nearest
from tasks.execution.keys import ArtifactKey


@dataclass(frozen=True)
class Duration:
    """An estimate for one artifact."""

    seconds: float
    device_hours: float | None
    """None if the number of devices was unknown."""
    money: float | None
    """At the config's prices; None without any."""
    basis: Manifest
    """The earlier artifact that it is taken from."""


def durations(plan: Plan, context: Context) -> Mapping[ArtifactKey, Duration | None]:
    """An estimate for each artifact that a run produces; None where the store holds none of its kind.

    The basis is the pipeline's last artifact of the same name, or else the stored one of the kind with the fewest
    differences. Its time and cost are scaled by the amount of work (`Step.work`). An interrupted stage continues, so it
    takes at most its estimate.
    """
    kinds: dict[str, list[Manifest]] = {}
    store = context.store

    def estimate(planned: Planned) -> Duration | None:
        target = planned.target
        basis = store.named(context.pipeline, str(target.key))
        if basis is None:
            if target.kind not in kinds:
                kinds[target.kind] = store.outputs(target.kind)
            basis = nearest(target, kinds[target.kind], str(target.key))
        if basis is None:
            return None
        try:
            scale = planned.step.work(target.config) / planned.step.work(basis.config)
            money = planned.step.money(basis.facts, basis.cost.device_hours, context)
        except (LookupError, TypeError, ZeroDivisionError):
            # An earlier version had other fields.
            return None
        hours, money = (None if value is None else value * scale for value in (basis.cost.device_hours, money))
        return Duration(basis.cost.seconds * scale, hours, money, basis)

    return {p.target.key: estimate(p) for p in plan.planned if p.check.state != "done"}
