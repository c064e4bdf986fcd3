"""`hpt watch`: run a pipeline again whenever there is something new."""

import time
from pathlib import Path
from typing import Annotated

import typer
from pydantic import ValidationError
from rich.markup import escape

from flows.api import make
from flows.commands import common
from flows.commands.common import ConfigFile, DataDir, Set, StoreOption
from flows.run import RunOptions, plan_run
from hpt_core.errors import ConfigError, HPTError
from tasks.execution.config import PipelineConfig
from tasks.execution.sweeps import NothingYet

app = typer.Typer()
Every = Annotated[float, typer.Option("--every", min=1.0, help="Seconds between two looks.")]
Once = Annotated[bool, typer.Option("--once", help="Look once: run what is new, and end.")]


@app.command()
def watch(
    config: ConfigFile,
    every: Every = 60.0,
    once: Once = False,
    overrides: Set = None,
    store: StoreOption = None,
    data_dir: DataDir = None,
) -> None:
    """Run a pipeline whenever something is new, such as a checkpoint that a `glob` in its config matches.

    Each model is evaluated and published once. Ctrl-C ends it.
    """
    common.resumes_with("watch", config, every=every, set=overrides, store=store, data_dir=data_dir)
    said = ""
    while True:
        resolved, waits = _read(config, overrides, store, data_dir)
        if resolved is not None and not plan_run(resolved).plan.finished:
            waits = _run(resolved, RunOptions(overrides=tuple(overrides or ())), once)
        waits = waits or "everything is done"
        if waits != said:
            common.ERR.print(f"[dim]{escape(waits)}{'' if once else f'; looking again every {every:g} s'}[/]")
            said = waits
        if once:
            return
        time.sleep(every)


def _read(
    path: Path, overrides: list[str] | None, store: str | None, data_dir: Path | None
) -> tuple[PipelineConfig | None, str]:
    """The config, or why there is nothing to run yet."""
    try:
        return common.read_config(path, overrides, store, data_dir), ""
    except ConfigError as error:
        faults = error.__cause__.errors() if isinstance(error.__cause__, ValidationError) else []
        if any(isinstance(fault.get("ctx", {}).get("error"), NothingYet) for fault in faults):
            return None, error.cause
        raise


def _run(config: PipelineConfig, options: RunOptions, once: bool) -> str:
    """Run the pipeline. A failure does not end the watch: the next look tries what failed again."""
    try:
        make(config, options, console=common.ERR, verbose=common.STATE.debug)
    except HPTError as error:
        if once:
            raise
        common.ERR.print(f"[red]error:[/] {escape(str(error))}")
        return "what failed will be tried again"
    return ""
