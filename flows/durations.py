"""How long a run will take, from the manifests of earlier artifacts."""

from collections.abc import Mapping
from dataclasses import dataclass

from flows.graph import Plan, Planned
from hpt_core.artifacts import Manifest, Store
from tasks.execution.differences import nearest
from tasks.execution.keys import ArtifactKey


@dataclass(frozen=True)
class Duration:
    """An estimate for one artifact."""

    seconds: float
    basis: Manifest
    """The earlier artifact that it is taken from."""


def durations(plan: Plan, store: Store, pipeline: str) -> Mapping[ArtifactKey, Duration | None]:
    """An estimate for each artifact that a run produces; None where the store holds none of its kind.

    The basis is the pipeline's last artifact of the same name, or else the stored one of the kind with the fewest
    differences. Its time is scaled by the amount of work (`Step.work`). An interrupted stage continues, so it takes at
    most its estimate.
    """
    kinds: dict[str, list[Manifest]] = {}

    def estimate(planned: Planned) -> Duration | None:
        target = planned.target
        basis = store.named(pipeline, str(target.key))
        if basis is None:
            if target.kind not in kinds:
                kinds[target.kind] = store.outputs(target.kind)
            basis = nearest(target, kinds[target.kind], str(target.key))
        if basis is None:
            return None
        try:
            scale = planned.step.work(target.config) / planned.step.work(basis.config)
        except (LookupError, TypeError, ZeroDivisionError):
            # An earlier version had other fields.
            return None
        return Duration(basis.cost.seconds * scale, basis)

    return {p.target.key: estimate(p) for p in plan.planned if p.check.state != "done"}
