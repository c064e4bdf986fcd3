"""The only place that decides: fingerprint -> skip or run -> commit."""

import contextlib
import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Literal

from hpt_core.artifacts import Cost, Damage, Lease, Manifest, Slot, describe_files
from hpt_core.errors import HPTError
from tasks import environment
from tasks.context import Context, Notice
from tasks.part import Made, Mades, Making, Part, Stage, Unit

LOG = logging.getLogger("hpt.stage")

Standing = Literal["done", "to do", "started", "running", "damaged", "redo"]


@dataclass(frozen=True)
class Check:
    """How an output stands."""

    standing: Standing
    made: Made | None = None
    text: str = ""
    damage: tuple[Damage, ...] = ()


def check(part: Part, unit: Unit, stage: str, context: Context) -> Check:
    """Whether the output is there and whole; changes nothing."""
    slot = context.store.slot(unit.kind, unit.fingerprint)
    manifest = slot.manifest()
    if manifest is None:
        if unit.provisional:
            return Check("to do")
        if holder := context.store.lease(slot).holder():
            return Check("running", text=f"process {holder['pid']} on {holder['host']}")
        begun = slot.work.exists() or (part.keeps_output and slot.output.exists())
        return Check("started", text="goes on from where it was cut short") if begun else Check("to do")
    damage = slot.damage(context.known, context.verify)
    if damage:
        more = f" and {len(damage) - 1} more" if len(damage) > 1 else ""
        return Check("damaged", text=f"{damage[0]}{more}", damage=tuple(damage))
    if not context.redo.isdisjoint((stage, f"{stage}/{unit.kind}")) and manifest.start < context.since:
        return Check("redo", text="asked for")
    made = Made(unit.key, unit.kind, unit.fingerprint, str(slot.folder), manifest.outputs, reused=True)
    if not part.holds(made):
        return Check("damaged", text="what it wrote outside of the store is gone")
    return Check("done", made)


def run_stage(stage: Stage, made: Mades, context: Context) -> dict[str, Made]:
    """Make what is missing of a stage and return all of its outputs by key. Raises HPTError."""
    found: dict[str, Made] = {}
    context.notify(Notice(stage.key, "started"))
    try:
        for part in stage.parts:
            found |= _run_part(stage, part, {**made, **found}, context)
    except HPTError as error:
        context.notify(Notice(stage.key, "failed", str(error)))
        raise
    finally:
        context.known.save()
    reused = all(m.reused for m in found.values())
    context.notify(Notice(stage.key, "reused" if reused else "made"))
    return found


def _run_part(stage: Stage, part: Part, made: Mades, context: Context) -> dict[str, Made]:
    units = part.units(made, context)
    found = {u.key: c.made for u in units if (c := check(part, u, stage.key, context)).made}
    missing = [u for u in units if u.key not in found]
    if missing:
        with leases(stage.key, missing, context) as held:
            # Another run may have made them while this one waited.
            checks = {u.key: check(part, u, stage.key, context) for u in missing}
            found |= {key: c.made for key, c in checks.items() if c.made}
            jobs = [Making(u, context.store.slot(u.kind, u.fingerprint)) for u in missing if not checks[u.key].made]
            if jobs:
                for job in jobs:
                    _clear(part, job.slot, checks[job.unit.key])
                found |= _make(part, jobs, made, context, held)
    return {u.key: m for u in units if (m := found[u.key])}


@contextlib.contextmanager
def leases(stage: str, units: Sequence[Unit], context: Context) -> Iterator[list[Lease]]:
    """Hold the leases of every output, taken in one order everywhere so that two runs cannot wait for each other."""

    def waiting(text: str) -> None:
        context.notify(Notice(stage, "waiting", text))
        if context.cancelled.is_set():
            raise HPTError(f"{stage}: stopped while {text}", "run it again")

    slots = {u.fingerprint: context.store.slot(u.kind, u.fingerprint) for u in units}
    with contextlib.ExitStack() as stack:
        yield [stack.enter_context(context.store.lease(slots[f]).held(waiting)) for f in sorted(slots)]


def _clear(part: Part, slot: Slot, standing: Check) -> None:
    """Take away what must not stay: all of an output that is redone, only the broken files where the rest is of use."""
    if standing.standing == "damaged":
        LOG.warning("%s; it is made again", standing.text)
        slot.set_aside()
        if part.mends:
            for damage in standing.damage:
                damage.path.unlink(missing_ok=True)
        else:
            slot.discard()
    elif standing.standing == "redo":
        slot.set_aside()
        slot.discard()
    elif not part.keeps_output:
        slot.discard_output()
    slot.output.mkdir(parents=True, exist_ok=True)


def _make(part: Part, jobs: list[Making], made: Mades, context: Context, held: list[Lease]) -> dict[str, Made]:
    start = datetime.now(UTC)
    cost = part.make(jobs, made, context)
    end = datetime.now(UTC)
    share = Cost(
        seconds=round((end - start).total_seconds() / len(jobs), 3),
        cpu_seconds=round(cost.cpu_seconds / len(jobs), 3),
        peak_memory_bytes=cost.peak_memory_bytes,
    )
    for lease in held:
        lease.confirm()
    return {job.unit.key: _commit(part, job, context, start, end, share) for job in jobs}


def _commit(part: Part, job: Making, context: Context, start: datetime, end: datetime, cost: Cost) -> Made:
    unit, slot = job.unit, job.slot
    files = describe_files(slot.folder, context.known)
    outputs = part.outputs(job, files)
    slot.commit(
        Manifest(
            stage=unit.key,
            kind=unit.kind,
            fingerprint=unit.fingerprint,
            inputs=dict(unit.inputs),
            config=unit.config,
            versions=dict(unit.versions),
            files=files,
            outputs=outputs,
            facts=part.facts(job),
            packages=environment.packages(),
            hardware=environment.hardware(),
            git_commit=environment.git_commit(),
            start=start,
            end=end,
            cost=cost,
        )
    )
    return Made(unit.key, unit.kind, unit.fingerprint, str(slot.folder), outputs)
