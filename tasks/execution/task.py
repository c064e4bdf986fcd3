"""A stage as a Prefect task. Only tasks/execution/stage.py decides what runs, not Prefect."""

import contextlib
import contextvars
from collections.abc import Iterator, Mapping
from typing import Any
from uuid import UUID

from prefect import get_run_logger, task
from prefect.artifacts import create_progress_artifact, update_progress_artifact
from prefect.cache_policies import NO_CACHE
from prefect.states import Completed

from tasks.execution.artifact import Artifacts, Stage
from tasks.execution.context import Context, Notice, Throttle, subscribe
from tasks.execution.keys import StageKey
from tasks.execution.stage import run_stage

PROGRESS_EVERY_S = 5.0
"""Minimum seconds between updates of a progress artifact."""


class Walk:
    """State of a run through the graph. A plain class, because Prefect searches dataclasses and models for futures."""

    def __init__(self, stages: Mapping[StageKey, Stage], context: Context) -> None:
        self.stages = {str(key): stage for key, stage in stages.items()}
        self.context = context
        self.artifacts = Artifacts()
        """Artifacts of the finished stages."""


@task(name="stage", task_run_name="{key}", cache_policy=NO_CACHE, persist_result=False)
def stage_task(key: str, walk: Walk) -> Any:
    """Run one stage and add its artifacts to the walk.

    Returns paths and hashes as JSON data. The state is Completed(name="Reused") if there was nothing to do.
    """
    logger = get_run_logger()
    with _progress(key, logger):
        found = run_stage(walk.stages[key], Artifacts(walk.artifacts), walk.context)
    walk.artifacts.update(found)
    data = [artifact.as_json() for artifact in found.values()]
    for artifact in found.values():
        logger.info("%s %s: %s", "reused" if artifact.reused else "made", artifact.key, artifact.folder)
    if all(artifact.reused for artifact in found.values()):
        return Completed(name="Reused", message=f"{key}: the store holds it", data=data)
    return data


@contextlib.contextmanager
def _progress(key: str, logger: Any) -> Iterator[None]:
    """Show the stage's progress as a Prefect artifact. Failures to show it are only logged."""
    throttle, artifact = Throttle(PROGRESS_EVERY_S), _Artifact(key)
    # Notices come from the threads that read the worker's output, but the artifact belongs to this task's run.
    run = contextvars.copy_context()

    def observe(notice: Notice) -> None:
        if notice.stage != key or notice.what != "progress" or not notice.total:
            return
        if throttle.due() or notice.done >= notice.total:
            try:
                run.copy().run(artifact.show, notice)
            except Exception as error:
                logger.debug("progress could not be shown: %s", error)

    unsubscribe = subscribe(observe)
    try:
        yield
    finally:
        unsubscribe()


class _Artifact:
    """A progress artifact, created at the first progress; its description is the stage's latest progress."""

    def __init__(self, key: str) -> None:
        self._stage = key
        self._key = "progress-" + "".join(c if c.isalnum() else "-" for c in key.lower())
        self._id: UUID | None = None

    def show(self, notice: Notice) -> None:
        percent = 100.0 * notice.done / notice.total
        count = f"{notice.done}/{notice.total} {notice.unit}".strip()
        text = f"{self._stage}: {count}" + (f", {notice.text}" if notice.text else "")
        if self._id is None:
            found = create_progress_artifact(progress=percent, key=self._key, description=text)
            self._id = found if isinstance(found, UUID) else None
        else:
            update_progress_artifact(artifact_id=self._id, progress=percent, description=text)
