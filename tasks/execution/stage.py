"""Run a stage: look up the fingerprint, reuse or run, commit. Only this module decides whether a stage runs."""

import contextlib
import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

from hpt_core.artifacts import Cost, Damage, Lease, Manifest, Slot, describe_files
from hpt_core.code import source_file
from hpt_core.errors import HPTError
from tasks.execution import environment
from tasks.execution.artifact import Artifact, Artifacts, Job, Stage, Step, Target
from tasks.execution.context import Context, Notice
from tasks.execution.keys import ArtifactKey, StageKey
from tasks.execution.turn import turn

LOG = logging.getLogger("hpt.stage")

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
        begun = slot.work.exists() or (step.keeps_output and slot.output.exists())
        if begun:
            return Check("started", text="continues where it was interrupted")
        return Check("to do", text=_changed(target, context))
    damage = slot.damage(context.known, context.verify)
    if damage:
        more = f" and {len(damage) - 1} more" if len(damage) > 1 else ""
        return Check("damaged", text=f"{damage[0]}{more}", damage=tuple(damage))
    if context.reruns(target.key) and manifest.start < context.since:
        return Check("rerun", text="requested")
    artifact = Artifact(target.key, target.kind, target.fingerprint, slot.folder, manifest.outputs, reused=True)
    if not step.holds(artifact):
        return Check("damaged", text="what it published outside the store is gone")
    return Check("done", artifact)


def _changed(target: Target, context: Context) -> str:
    """How a target differs from the last artifact of its name; "" if there is none."""
    before = context.store.named(context.pipeline, str(target.key))
    if before is None:
        return ""
    found = []
    for name in sorted({*before.versions, *target.versions}):
        old, new = before.versions.get(name), target.versions.get(name)
        if old != new:
            file = source_file(name) if old and new and len(new) == HASH_LENGTH else None
            found.append(_shown_path(file) if file else f"{name}: {_short(old)} -> {_short(new)}")
    found += [f"input {role}" for role, hash_ in target.inputs.items() if before.inputs.get(role) != hash_]
    found += _differences(before.config, target.config, "")
    more = f" and {len(found) - 3} more" if len(found) > 3 else ""
    return f"changed: {', '.join(found[:3])}{more}" if found else ""


HASH_LENGTH = 64
"""Hexadecimal digits of a SHA-256."""


def _differences(before: Any, now: Any, where: str) -> list[str]:
    """Paths of the fields that differ between two configs."""
    if not isinstance(before, dict) or not isinstance(now, dict):
        return [where] if before != now else []
    names = sorted({*before, *now})
    return [
        field
        for name in names
        for field in _differences(before.get(name), now.get(name), f"{where}.{name}".removeprefix("."))
    ]


def _short(version: str | None) -> str:
    return "none" if version is None else version[:12] if len(version) == HASH_LENGTH else version


def _shown_path(file: Path) -> str:
    """The path, relative to the current folder if it lies below it."""
    return str(file.relative_to(Path.cwd())) if file.is_relative_to(Path.cwd()) else str(file)


def run_stage(stage: Stage, artifacts: Artifacts, context: Context) -> Artifacts:
    """Produce a stage's missing artifacts and return all of its artifacts. Raises HPTError."""
    found = Artifacts()
    context.notify(Notice(str(stage.key), "started"))
    try:
        for step in stage.steps:
            produced = _run_step(step, Artifacts({**artifacts, **found}), context)
            for artifact in produced.values():
                context.store.link(context.pipeline, str(artifact.key), artifact.folder)
            found.update(produced)
    except HPTError as error:
        context.notify(Notice(str(stage.key), "failed", str(error)))
        raise
    finally:
        context.known.save()
    reused = all(artifact.reused for artifact in found.values())
    context.notify(Notice(str(stage.key), "reused" if reused else "made"))
    return found


def _run_step(step: Step, artifacts: Artifacts, context: Context) -> Artifacts:
    targets = step.targets(artifacts, context)
    found = {t.key: c.artifact for t in targets if (c := check(step, t, context)).artifact}
    missing = [t for t in targets if t.key not in found]
    if missing:
        with leases(step.stage, missing, context) as held:
            # Another run may have produced them while this one waited.
            checks = {t.key: check(step, t, context) for t in missing}
            found |= {key: c.artifact for key, c in checks.items() if c.artifact}
            jobs = [Job(t, context.store.slot(t.kind, t.fingerprint)) for t in missing if not checks[t.key].artifact]
            if jobs:
                for job in jobs:
                    _clear(step, job.slot, checks[job.target.key])
                found |= _make(step, jobs, artifacts, context, held)
    return Artifacts({target.key: found[target.key] for target in targets})


@contextlib.contextmanager
def leases(stage: StageKey, targets: Sequence[Target], context: Context) -> Iterator[list[Lease]]:
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
        slot.set_aside()
        if step.mends:
            for damage in checked.damage:
                damage.path.unlink(missing_ok=True)
        else:
            slot.discard()
    elif checked.state == "rerun":
        slot.set_aside()
        slot.discard()
    elif not step.keeps_output:
        slot.discard_output()
    slot.output.mkdir(parents=True, exist_ok=True)


def _make(
    step: Step, jobs: list[Job], artifacts: Artifacts, context: Context, held: list[Lease]
) -> dict[ArtifactKey, Artifact]:
    with turn(step.stage, context) if step.heavy else contextlib.nullcontext():
        start = datetime.now(UTC)
        cost = step.make(jobs, artifacts, context)
        end = datetime.now(UTC)
    share = Cost(
        seconds=round((end - start).total_seconds() / len(jobs), 3),
        cpu_seconds=round(cost.cpu_seconds / len(jobs), 3),
        peak_memory_bytes=cost.peak_memory_bytes,
    )
    for lease in held:
        lease.confirm()
    return {job.target.key: _commit(step, job, context, start, end, share) for job in jobs}


def _commit(step: Step, job: Job, context: Context, start: datetime, end: datetime, cost: Cost) -> Artifact:
    target, slot = job.target, job.slot
    files = describe_files(slot.folder, context.known)
    outputs = step.outputs(job, files)
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
            facts=step.facts(job),
            packages=environment.packages(),
            hardware=environment.hardware(),
            git_commit=environment.git_commit(),
            start=start,
            end=end,
            cost=cost,
        )
    )
    return Artifact(target.key, target.kind, target.fingerprint, slot.folder, outputs)
