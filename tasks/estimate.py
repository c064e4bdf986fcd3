"""A pilot of a model's evaluation: a few questions of each benchmark, whose samples are kept for the evaluation."""

from hpt_core.evaluation.estimate import UnitEstimate, read_all
from tasks import slices
from tasks.context import Context
from tasks.evaluate import SamplePart
from tasks.part import Mades, Making
from tasks.stage import check, leases


def pilot(part: SamplePart, made: Mades, context: Context, questions: int) -> dict[str, UnitEstimate]:
    """Draw `questions` questions of each benchmark that is not finished, on one device.

    Returns the estimates by key of the benchmark's samples; empty where all are finished. Raises HPTError.
    """
    units = [unit for unit in part.units(made, context) if check(part, unit, part.key, context).standing != "done"]
    if not units:
        return {}
    with leases(part.key, units, context):
        jobs = [Making(unit, context.store.slot(unit.kind, unit.fingerprint)) for unit in units]
        spec = part.spec(jobs, made).model_copy(update={"pilot": questions})
        context.worker(part.key, slices.SAMPLE, spec, [job.slot for job in jobs])
        return read_all({job.unit.key: job.slot.work for job in jobs})
