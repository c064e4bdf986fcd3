"""Run the stages of a graph, dependencies first and optionally in parallel. A failure stops only dependent stages."""

import contextlib
import contextvars
import logging
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait

from hpt_core.errors import HPTError, explain
from tasks.execution.artifact import Artifacts, Stage
from tasks.execution.context import Notice
from tasks.execution.stage import is_held
from tasks.execution.task import Walk, stage_task

LOG = logging.getLogger("hpt.flows")


class StagesFailed(HPTError):
    """Some stages failed; all stages that do not depend on them are done."""

    def __init__(self, failures: dict[str, HPTError]) -> None:
        first = next(iter(failures.values()))
        self.failures = failures
        self.exit_code = first.exit_code
        more = f" ({len(failures) - 1} more failed: {', '.join(list(failures)[1:])})" if len(failures) > 1 else ""
        super().__init__(first.cause + more, first.remedy)


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
    done: set[str] = set()

    def ready() -> list[str]:
        """The stages that can run. Those that another run is producing come last, so that runs share the work."""
        found = [key for key, stage in left.items() if set(map(str, stage.after)) <= done]
        return (
            found if len(found) < 2 else sorted(found, key=lambda key: is_held(left[key], run.artifacts, run.context))
        )

    def ended(key: str, error: HPTError | None) -> None:
        if error is None:
            done.add(key)
        else:
            failures[key] = error
            _skip(run, left, key)

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
        raise StagesFailed(failures) from next(iter(failures.values()))
    return run.artifacts


def _attempt(key: str, run: Walk) -> HPTError | None:
    try:
        # The task is synchronous, although its overloads include a coroutine.
        stage_task(key, run)  # type: ignore[unused-coroutine]
    except HPTError as error:
        return error
    except Exception as error:  # a fault in the code of a stage or of a library stops no independent stage
        LOG.error("%s failed", key, exc_info=error)
        failed = HPTError(f"{key}: {explain(error)}", "run with --debug and report the output")
        failed.__cause__ = error
        run.context.notify(Notice(key, "failed", str(failed)))
        return failed
    return None


def _skip(run: Walk, left: dict[str, Stage], failed: str) -> None:
    """Remove from `left` every stage that depends on the failed one."""
    skipped = {failed}
    for key in list(left):
        if skipped & set(map(str, left[key].after)):
            skipped.add(key)
            del left[key]
            run.context.notify(Notice(key, "skipped", f"needs {failed}"))
