"""Running a pipeline from Python and notebooks: `hpt.run("demo.toml")`."""

import contextlib
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from flows.display import Display
from flows.load import load_config
from flows.results import Results
from flows.run import Run, RunOptions, plan_run, preflight, reuse
from flows.server import run_flow
from tasks.execution.config import PipelineConfig
from tasks.execution.context import Notice, subscribe


def run(
    config: str | Path | Mapping[str, Any] | PipelineConfig,
    options: RunOptions | None = None,
    on_event: Callable[[Notice], None] | None = None,
) -> Results:
    """Run a pipeline by its config, the path of one, or a table of its fields; what the store holds is skipped.

    `on_event` is called with every event that the command line shows: stage, what it is at, how far. Without it they
    are shown as there. Raises HPTError: the first stage's that failed, once no stage is left that could run.
    """
    if isinstance(config, str | Path):
        config = load_config(Path(config))
    planned = plan_run(PipelineConfig.model_validate(config), options or RunOptions())
    preflight(planned)
    if planned.plan.finished:
        return Results(reuse(planned))
    with _events(planned, on_event):
        return Results(run_flow(planned))


@contextlib.contextmanager
def _events(planned: Run, on_event: Callable[[Notice], None] | None) -> Iterator[None]:
    if on_event is None:
        from rich.console import Console

        with Display(planned.graph, Console(stderr=True, highlight=False)):
            yield
        return
    unsubscribe = subscribe(on_event)
    try:
        yield
    finally:
        unsubscribe()
