"""Run the stages of a graph, dependencies first and optionally in parallel. A failure stops only dependent stages."""

import contextlib
import contextvars
import logging
from collections.abc import Collection
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait

from flows.run import StagesFailed
from hpt_core.errors import HPTError, explain
from tasks.execution.artifact import Artifacts, Stage
from tasks.execution.context import Notice
from tasks.execution.keys import StageKey
from tasks.execution.stage import is_held
from tasks.execution.task import Walk, asked_to_end, stage_task

LOG = logging.getLogger("hpt.flows")


def walk(run: Walk, parallel: int = 1) -> Artifacts:
    """Run every stage and return the artifacts. Raises StagesFailed after all stages that can run have run.

    Tasks are called directly, because Prefect's .submit() delays cancellation.
    """
    with contextlib.closing(run.context.staying):
        return _walk(run, parallel)


def _walk(run: Walk, parallel: int) -> Artifacts:
    failures: dict[str, HPTError] = {}
    left = dict(run.stages)
    running: dict[Future[HPTError | None], str] = {}
    over: set[StageKey] = set()
    """The stages that are done, failed or skipped. Those left can do without the ones that are not done."""
    lost: set[StageKey] = set()
    """The stages that failed or were skipped."""

    def ready() -> list[str]:
        """The stages that can run. Those that another run is producing come last, so that runs share the work."""
        found = [key for key, stage in left.items() if over.issuperset(stage.after)]
        return (
            found if len(found) < 2 else sorted(found, key=lambda key: is_held(left[key], run.artifacts, run.context))
        )

    def ended(key: str, error: HPTError | None) -> None:
        stage = run.stages[key].key
        over.add(stage)
        if error is not None:
            failures[key] = error
            lost.add(stage)
            skipped = _skip(run, left, lost)
            over.update(skipped)
            lost.update(skipped)

    if parallel == 1:
        while keys := ready():
            del left[keys[0]]
            ended(keys[0], _attempt(keys[0], run))
    else:
        with ThreadPoolExecutor(parallel, thread_name_prefix="stage") as pool:
            try:
                while (keys := ready()) or running:
                    for key in keys[: parallel - len(running)]:
                        del left[key]
                        # Each thread needs the flow run's context, so that its task belongs to the flow run.
                        running[pool.submit(contextvars.copy_context().run, _attempt, key, run)] = key
                    finished, _ = wait(running, timeout=0.5, return_when=FIRST_COMPLETED)
                    for future in finished:
                        ended(running.pop(future), future.result())
            except BaseException:
                run.context.cancelled.set()
                raise
    if failures:
        # With the traceback of what is not an HPTError, for --debug.
        raise StagesFailed(failures, run.artifacts) from next(iter(failures.values()))
    return run.artifacts


def _attempt(key: str, run: Walk) -> HPTError | None:
    try:
        # The task is synchronous, although its overloads include a coroutine.
        stage_task(key, run)  # type: ignore[unused-coroutine]
    except Exception as error:  # a fault in the code of a stage or of a library stops no independent stage
        if (end := asked_to_end(error)) is not None:
            raise end from None
        if isinstance(error, HPTError):
            return error
        LOG.error("%s failed", key, exc_info=error)
        failed = HPTError(f"{key}: {explain(error)}", "run with --debug and report the output")
        failed.__cause__ = error
        run.context.notify(Notice(key, "failed", str(failed)))
        return failed
    return None


def _skip(run: Walk, left: dict[str, Stage], lost: Collection[StageKey]) -> set[StageKey]:
    """Remove from `left` every stage that cannot run without those in `lost`, and return them."""
    skipped: set[StageKey] = set()
    for key, stage in list(left.items()):  # each after those that it depends on
        if needed := stage.lacks({*lost, *skipped}, run.complete):
            skipped.add(stage.key)
            del left[key]
            run.context.notify(Notice(key, "skipped", f"needs {needed}"))
    return skipped
