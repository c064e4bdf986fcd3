"""Run a pipeline from Python or a notebook: `hpt.run("demo.toml")`."""

import contextlib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from rich.console import Console

from flows.display import Display
from flows.load import load_config, validated
from flows.record import recorded
from flows.results import Results
from flows.run import RunOptions, plan_run, preflight, reuse, warn
from flows.secrets import provide
from flows.server import prepare_environment, run_flow
from hpt_core import logs
from tasks.execution.artifact import Artifacts
from tasks.execution.config import PipelineConfig
from tasks.execution.context import Notice, subscribe


def run(
    config: str | Path | Mapping[str, Any] | PipelineConfig,
    options: RunOptions | None = None,
    on_event: Callable[[Notice], None] | None = None,
) -> Results:
    """Run a pipeline, given as a config, the path of one, or a dictionary of its fields.

    Artifacts that the store already holds are reused. `on_event` receives every progress event; without it, progress is
    printed as on the command line. If a stage fails, the independent stages still run; then its HPTError is raised.
    """
    if isinstance(config, str | Path):
        config = load_config(Path(config))
    elif not isinstance(config, PipelineConfig):
        config = validated(config, "the config")
    return Results(make(config, options or RunOptions(), on_event))


def make(
    config: PipelineConfig,
    options: RunOptions,
    on_event: Callable[[Notice], None] | None = None,
    console: Console | None = None,
    verbose: bool = False,
) -> Artifacts:
    """Run a pipeline, or the part that the options name. Prefect starts only if there is work to do.

    Without `on_event`, progress is printed on `console`, by default on standard error.
    """
    prepare_environment()
    provide(config.secrets)
    run = plan_run(config, options)
    for notice in warn(run):
        if on_event is not None:
            on_event(notice)
    preflight(run)
    with contextlib.ExitStack() as stack:
        if on_event is None:
            console = console or Console(stderr=True, highlight=False)
            if not run.plan.finished and not logs.as_json():
                console.print("[dim]starting Prefect[/]")
            stack.enter_context(Display(run.graph, console))
        else:
            stack.callback(subscribe(on_event))
        run = stack.enter_context(recorded(run))
        return reuse(run) if run.plan.finished else run_flow(run, verbose)
