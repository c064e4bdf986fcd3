"""Run a stage: look up the fingerprint, reuse or run, commit. Only this module decides whether a stage runs."""

import contextlib
import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

from hpt_core.artifacts import REPORT, BaseLease, Cost, Damage, Manifest, Slot, describe_files
from hpt_core.artifacts.progress import shared, works
from hpt_core.errors import HPTError, StoreError, disk_error
from tasks.execution import environment
from tasks.execution.artifact import Artifact, Artifacts, Job, Stage, Step, Target
from tasks.execution.catalog import add_artifact
from tasks.execution.context import Context, Notice
from tasks.execution.cost import Meter
from tasks.execution.differences import differences, summary
from tasks.execution.keys import ArtifactKey, StageKey
from tasks.execution.turn import turn

LOG = logging.getLogger("hpt.stage")

MB = 10**6

State = Literal["done", "to do", "started", "running", "damaged", "rerun"]


@dataclass(frozen=True)
class Check:
    """The state of an artifact in the store."""

    state: State
    artifact: Artifact | None = None
    text: str = ""
    damage: tuple[Damage, ...] = ()


def check(step: Step, target: Target, context: Context) -> Check:
    """The state of the target's artifact. Changes nothing."""
    slot = context.store.slot(target.kind, target.fingerprint)
    manifest = slot.manifest()
    if manifest is None:
        if target.provisional:
            return Check("to do")
        if holder := context.store.lease(slot).holder():
            return Check("running", text=holder)
        if slot.is_begun(step.keeps_output):
            return Check("started", text="continues where it was interrupted")
        return Check("to do", text=_changed(target, context))
    damage = slot.damage(context.known, context.verify)
    if damage:
        more = f" and {len(damage) - 1} more" if len(damage) > 1 else ""
        return Check("damaged", text=f"{damage[0]}{more}", damage=tuple(damage))
    renewed = is_renewed(target, context)
    if (renewed or target.key in context.rerun) and manifest.start < context.since:
        return Check("rerun", text="after an input" if target.renewed else "requested")
    artifact = Artifact(
        target.key, target.kind, target.fingerprint, slot.folder, manifest.outputs, True, renewed=renewed, slot=slot
    )
    if not step.holds(artifact):
        return Check("damaged", text="what it published outside the store is gone")
    if manifest.start < context.since and (text := step.superseded(artifact, context)):
        return Check("rerun", text=text)
    return Check("done", artifact)


def is_renewed(target: Target, context: Context) -> bool:
    """Whether the run produces the artifact and all that depend on it again."""
    return target.renewed or target.key in context.rerun_from


def placeholder(target: Target, context: Context) -> Artifact:
    """The artifact that will come of a target."""
    folder = context.store.slot(target.kind, target.fingerprint).folder
    renewed = is_renewed(target, context)
    return Artifact(target.key, target.kind, target.fingerprint, folder, {}, provisional=True, renewed=renewed)


def _changed(target: Target, context: Context) -> str:
    """How a target differs from the last artifact of its name; "" if there is none."""
    before = context.store.named(context.pipeline, str(target.key))
    return "" if before is None else summary(differences(before, target))


def run_stage(stage: Stage, artifacts: Artifacts, context: Context) -> Artifacts:
    """Produce a stage's missing artifacts and return all of its artifacts, without those that the run leaves out.

    Raises HPTError.
    """
    found = Artifacts()

    def fetching(text: str, done: int, total: int) -> None:
        context.notify(Notice(str(stage.key), "progress", text, done // MB, -(-total // MB), "MB"))

    token = REPORT.set(fetching)
    context.notify(Notice(str(stage.key), "started"))
    try:
        with _disk_errors(stage.key):
            for step in stage.steps:
                produced = _run_step(step, Artifacts({**artifacts, **found}), context)
                for artifact in produced.values():
                    if not artifact.provisional:
                        context.store.link(context.pipeline, str(artifact.key), artifact.folder)
                found.update(produced)
                for artifact in produced.values():
                    if not artifact.provisional and not artifact.reused:
                        record = context.log.record if context.log else None
                        add_artifact(artifact, record, Artifacts({**artifacts, **found}), context.store)
    except HPTError as error:
        context.notify(Notice(str(stage.key), "failed", str(error)))
        raise
    finally:
        REPORT.reset(token)
        context.known.save()
    found = Artifacts({key: artifact for key, artifact in found.items() if not artifact.provisional})
    reused = all(artifact.reused for artifact in found.values())
    context.notify(Notice(str(stage.key), "reused" if reused else "made"))
    return found


@contextlib.contextmanager
def _disk_errors(stage: StageKey) -> Iterator[None]:
    """Raise StoreError for a disk that cannot be used, whichever of the store's files is touched first."""
    try:
        yield
    except OSError as error:
        if found := disk_error(error, StoreError, f"{stage}: "):
            raise found from error
        raise


def is_held(stage: Stage, artifacts: Artifacts, context: Context) -> bool:
    """Whether another run is producing an artifact of the stage's first step now."""
    try:
        targets = [target for step in stage.steps[:1] for target in step.targets(artifacts, context)]
    except Exception:  # whatever it is, running the stage tells it
        return False
    slots = [context.store.slot(target.kind, target.fingerprint) for target in targets]
    return any(slot.manifest() is None and context.store.lease(slot).holder() for slot in slots)


def _run_step(step: Step, artifacts: Artifacts, context: Context) -> Artifacts:
    targets = step.targets(artifacts, context)
    if context.log:
        # Before the store is looked at: from here on nobody removes what is found.
        context.log.refer({str(t.key): f"{t.kind}/{t.fingerprint}" for t in targets})
    slots = [context.store.slot(t.kind, t.fingerprint) for t in targets]
    context.store.refresh(slots)
    found = {t.key: c.artifact for t in targets if (c := check(step, t, context)).artifact}
    left_out = {t.key: placeholder(t, context) for t in targets if t.key not in found and t.key in context.skipped}
    missing = [t for t in targets if t.key not in found and t.key not in left_out]
    if missing:
        with leases(step.stage, missing, context) as held:
            # Another run may have produced them while this one waited.
            context.store.refresh(slots)
            checks = {t.key: check(step, t, context) for t in missing}
            found |= {key: c.artifact for key, c in checks.items() if c.artifact}
            jobs = [Job(t, context.store.slot(t.kind, t.fingerprint)) for t in missing if not checks[t.key].artifact]
            if jobs:
                for job in jobs:
                    _clear(step, job.slot, checks[job.target.key])
                found |= _make(step, jobs, artifacts, context, held)
    found |= left_out
    return Artifacts({target.key: found[target.key] for target in targets})


@contextlib.contextmanager
def leases(stage: StageKey, targets: Sequence[Target], context: Context) -> Iterator[list[BaseLease]]:
    """Hold the leases of all targets. All runs take leases in the same order, which prevents deadlocks."""

    def waiting(text: str) -> None:
        context.notify(Notice(str(stage), "waiting", text))
        if context.cancelled.is_set():
            raise HPTError(f"{stage}: stopped while {text}", "run it again")

    slots = {t.fingerprint: context.store.slot(t.kind, t.fingerprint) for t in targets}
    with contextlib.ExitStack() as stack:
        yield [stack.enter_context(context.store.lease(slots[f]).held(waiting)) for f in sorted(slots)]


def _clear(step: Step, slot: Slot, checked: Check) -> None:
    """Prepare a slot's output folder: remove old files, except those that the next attempt can use."""
    if checked.state == "damaged":
        LOG.warning("%s; it will be produced again", checked.text)
        slot.set_aside(checked.damage if step.mends else None)
        if not step.mends:
            slot.discard()
    elif checked.state == "rerun":
        slot.set_aside()
        slot.discard()
    elif not step.keeps_output:
        slot.discard_output()
    slot.output.mkdir(parents=True, exist_ok=True)


def _make(
    step: Step, jobs: list[Job], artifacts: Artifacts, context: Context, held: list[BaseLease]
) -> dict[ArtifactKey, Artifact]:
    def confirm() -> None:
        for lease in held:
            lease.confirm()

    mine = works([job.slot for job in jobs], step.keeps_output)
    for work in mine:
        work.adopt()
    with turn(step.stage, context) if step.heavy else contextlib.nullcontext():
        meter, used = Meter(step, jobs, context), Cost()
        try:
            with shared(mine, confirm):
                used = step.make(jobs, artifacts, context)
        finally:
            meter.end(used)
    confirm()
    if mine:
        for work in mine:
            work.publish()
        confirm()
    return {job.target.key: _commit(step, job, context, meter) for job in jobs}


def _commit(step: Step, job: Job, context: Context, meter: Meter) -> Artifact:
    target, slot = job.target, job.slot
    files = describe_files(slot.folder, context.known)
    outputs = step.outputs(job, files)
    facts = step.facts(job)
    slot.commit(
        Manifest(
            stage=str(target.key),
            kind=target.kind,
            fingerprint=target.fingerprint,
            inputs=dict(target.inputs),
            config=target.config,
            versions=dict(target.versions),
            files=files,
            outputs=outputs,
            facts=facts,
            packages=environment.packages(),
            hardware=environment.hardware(),
            git_commit=environment.git_commit(),
            start=meter.start,
            end=meter.stop,
            cost=meter.total(job, facts),
        )
    )
    renewed = is_renewed(target, context)
    return Artifact(target.key, target.kind, target.fingerprint, slot.folder, outputs, renewed=renewed, slot=slot)
