"""A stage as a Prefect task. Only tasks/execution/stage.py decides what runs, not Prefect."""

from collections.abc import Mapping
from typing import Any

from prefect import get_run_logger, task
from prefect.cache_policies import NO_CACHE
from prefect.exceptions import TerminationSignal
from prefect.states import Completed

from hpt_core import logs
from hpt_core.errors import HPTError, WorkerLost, explain
from hpt_core.redact import redact
from tasks.execution.artifact import Artifacts, Stage
from tasks.execution.context import Context
from tasks.execution.keys import StageKey
from tasks.execution.stage import run_stage

RETRY_AFTER_S = [2.0, 10.0]
"""Seconds before each further attempt of a stage whose worker was lost. Short, because a cancelled run waits for it."""


class Walk:
    """State of a run through the graph. A plain class, because Prefect searches dataclasses and models for futures."""

    def __init__(self, stages: Mapping[StageKey, Stage], context: Context, complete: bool = False) -> None:
        """With `complete`, a stage needs all stages that it comes after, also those that it could do without."""
        self.stages = {str(key): stage for key, stage in stages.items()}
        self.context = context
        self.complete = complete
        self.artifacts = Artifacts()
        """Artifacts of the finished stages."""


def asked_to_end(error: BaseException) -> BaseException | None:
    """The SIGTERM or Ctrl-C behind an error; None if there is none.

    Code that is interrupted may raise another error while it cleans up. Prefect's engine does so between the start of a
    task and its record.
    """
    seen: BaseException | None = error
    while seen is not None and not isinstance(seen, (TerminationSignal, KeyboardInterrupt)):
        seen = seen.__cause__ or seen.__context__
    return seen


def _may_help(task: Any, run: Any, state: Any) -> bool:
    """Whether to run a failed stage again: its worker was lost. Any other failure would come again."""
    return isinstance(state.data, WorkerLost) and asked_to_end(state.data) is None


@task(
    name="stage",
    task_run_name="{key}",
    cache_policy=NO_CACHE,
    persist_result=False,
    retries=len(RETRY_AFTER_S),
    retry_delay_seconds=RETRY_AFTER_S,
    retry_condition_fn=_may_help,
)
def stage_task(key: str, walk: Walk) -> Any:
    """Run one stage and add its artifacts to the walk.

    Returns paths and hashes as JSON data. The state is Completed(name="Reused") if there was nothing to do.
    """
    logger = get_run_logger()
    with logs.about(stage=key):
        try:
            found = run_stage(walk.stages[key], Artifacts(walk.artifacts), walk.context)
        except HPTError:
            raise
        except Exception as error:
            if (text := explain(error)) == redact(text):
                raise
            # Prefect stores the text of any error, and its causes.
            raise HPTError(f"{key}: {text}", "run with --debug and report the output") from None
    walk.artifacts.update(found)
    data = [artifact.as_json() for artifact in found.values()]
    for artifact in found.values():
        logger.info("%s %s: %s", "reused" if artifact.reused else "made", artifact.key, artifact.folder)
    if all(artifact.reused for artifact in found.values()):
        return Completed(name="Reused", message=f"{key}: the store holds it", data=data)
    return data
