"""A pilot of a model's evaluation: a few questions of each benchmark, whose samples are kept for the evaluation."""

from collections.abc import Sequence

from hpt_core.evaluation.estimate import UnitEstimate, read_all
from tasks import slices
from tasks.context import Context
from tasks.evaluate import SamplePart
from tasks.part import Mades, Making, Unit
from tasks.stage import check, leases


def pilot(part: SamplePart, made: Mades, context: Context, questions: int) -> dict[str, UnitEstimate]:
    """Draw `questions` questions of each benchmark that is not finished.

    Returns the estimates by key of the benchmark's samples; empty where all are finished. Raises HPTError.
    """

    def unfinished(among: Sequence[Unit]) -> list[Unit]:
        return [unit for unit in among if check(part, unit, part.key, context).standing != "done"]

    units = unfinished(part.units(made, context))
    with leases(part.key, units, context):
        # An evaluation may have finished them while this waited for it.
        units = unfinished(units)
        if not units:
            return {}
        jobs = [Making(unit, context.store.slot(unit.kind, unit.fingerprint)) for unit in units]
        spec = part.spec(jobs, made).model_copy(update={"pilot": questions})
        slices.draw(part.key, spec, [job.slot for job in jobs], context)
        return read_all({job.unit.key: job.slot.work for job in jobs})
