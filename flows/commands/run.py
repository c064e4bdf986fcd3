"""`hpt run`, `hpt rerun` and each stage alone: the commands that make something."""

import contextlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Annotated, Any

import typer

from flows import graph as graphs
from flows.commands import common
from flows.commands.common import ConfigFile, DataDir, Force, Json, Set, StoreOption, Strict, Verify
from flows.commands.result import print_result
from flows.config import PipelineConfig
from flows.context import context_of, redone
from flows.display import Display
from flows.preflight import preflight, require_sampled
from tasks.part import Mades

app = typer.Typer()
FromStage = Annotated[str, typer.Option("--from", help="Stage to make again, with all that follows from it.")]
Names = Annotated[list[str] | None, typer.Argument(metavar="[NAME]...", help="Only these; all where none is given.")]


@app.command()
def run(
    config: ConfigFile,
    overrides: Set = None,
    store: StoreOption = None,
    data_dir: DataDir = None,
    force: Force = False,
    verify: Verify = False,
    strict: Strict = False,
    as_json: Json = False,
) -> None:
    """Run a pipeline: what the store holds is skipped, what was cut short goes on."""
    resolved = common.read_config(config, overrides, store, data_dir)
    execute(resolved, "pipeline", (), as_json, force=force, verify=verify, strict=strict)


@app.command()
def rerun(
    config: ConfigFile,
    from_stage: FromStage,
    overrides: Set = None,
    store: StoreOption = None,
    data_dir: DataDir = None,
    verify: Verify = False,
    strict: Strict = False,
    as_json: Json = False,
) -> None:
    """Make one stage again, with all that follows from it; what comes before is reused."""
    resolved = common.read_config(config, overrides, store, data_dir)
    execute(resolved, "pipeline", (), as_json, from_stage=from_stage, verify=verify, strict=strict)


@app.command()
def regrade(
    config: ConfigFile,
    names: Names = None,
    overrides: Set = None,
    store: StoreOption = None,
    data_dir: DataDir = None,
    as_json: Json = False,
) -> None:
    """Grade the stored samples of models again, and draw none; `hpt report` then shows the new scores."""
    resolved = common.read_config(config, overrides, store, data_dir)
    execute(resolved, "evaluate", _goals("evaluate", names), as_json, regrade=True)


def _goals(kind: str, names: list[str] | None) -> tuple[str, ...]:
    return tuple(n if n.startswith(kind) else f"{kind}.{n}" for n in names or (kind,))


def _stage_command(name: str, kind: str, what: str) -> None:
    def command(
        config: ConfigFile,
        names: Names = None,
        overrides: Set = None,
        store: StoreOption = None,
        data_dir: DataDir = None,
        force: Force = False,
        verify: Verify = False,
        strict: Strict = False,
        as_json: Json = False,
    ) -> None:
        resolved = common.read_config(config, overrides, store, data_dir)
        execute(resolved, name, _goals(kind, names), as_json, force=force, verify=verify, strict=strict)

    command.__doc__ = f"{what}; what it depends on is made where it is missing."
    app.command(name)(command)


STAGE_COMMANDS = frozenset({"prepare", "train", "evaluate", "report", "publish"})
"""Commands that run the stages of one kind, each with what it depends on."""
_stage_command("prepare", "data", "Prepare training questions")
_stage_command("train", "train", "Train models")
_stage_command("evaluate", "evaluate", "Sample and grade models on the benchmarks")
_stage_command("report", "report", "Build the tables and the leaderboard")
_stage_command("publish", "publish", "Publish the leaderboard")


def execute(
    config: PipelineConfig,
    flow: str,
    goals: tuple[str, ...],
    as_json: bool,
    force: bool = False,
    from_stage: str | None = None,
    verify: bool = False,
    strict: bool = False,
    regrade: bool = False,
) -> None:
    """Run the goals and print what came of it."""
    made = make(config, flow, goals, as_json, force, from_stage, verify, strict, regrade)
    print_result(config, made, as_json)


def make(
    config: PipelineConfig,
    flow: str,
    goals: tuple[str, ...],
    quiet: bool = False,
    force: bool = False,
    from_stage: str | None = None,
    verify: bool = False,
    strict: bool = False,
    regrade: bool = False,
) -> Mades:
    """The outputs of the goals and of what they depend on, by a Prefect flow where anything is to be done."""
    graph = graphs.select(config, goals) if goals else graphs.build(config)
    wanted = [key for goal in goals for key in graphs.match(graph, goal)] if goals else list(graph)
    context = context_of(config, redone(graph, wanted, force, from_stage, regrade), verify, strict)
    plan = graphs.plan(graph, context)
    if regrade:
        require_sampled(plan)
    preflight(config, plan, context)
    if plan.finished:
        # Nothing to run: starting Prefect for it would cost more than everything else.
        for key in () if quiet else graph:
            common.ERR.print(f"{key}: reused")
        return plan.made
    options: dict[str, Any] = {"force": force, "verify": verify, "strict": strict}
    if flow == "pipeline":
        options["from_stage"] = from_stage
    else:
        options["names"] = list(goals)
    if regrade:
        options["regrade"] = True
    with Display(graph, common.ERR):
        run_flow(flow, config, options, context.store.root / "logs" / f"{config.name}.log")
    return graphs.plan(graph, context_of(config)).made


def run_flow(name: str, config: PipelineConfig, options: dict[str, Any], log: Path) -> None:
    """Run a flow in this process, on the server of PREFECT_API_URL or on one of its own that ends with it."""
    common.ERR.print("[dim]starting Prefect[/]")
    with prefect_settings():
        import importlib

        flow: Callable[..., Any] = getattr(importlib.import_module(f"flows.{name}"), name)
        if not common.STATE.debug:
            _silence_console()
        # Only now: importing Prefect sets its loggers up anew.
        common.log_to_file(log)
        flow(config=config, **options)


@contextlib.contextmanager
def prefect_settings() -> Iterator[None]:
    """Without a server that lasts, a heartbeat tells nobody anything and costs a second at the end of each flow."""
    from prefect.settings import PREFECT_API_URL, PREFECT_FLOWS_HEARTBEAT_FREQUENCY, temporary_settings

    if PREFECT_API_URL.value():
        yield
        return
    with temporary_settings({PREFECT_FLOWS_HEARTBEAT_FREQUENCY: None}):
        yield


def _silence_console() -> None:
    """Take Prefect's lines and tracebacks off the terminal; they go to the log file and to its server."""
    import logging

    from prefect.logging.handlers import PrefectConsoleHandler

    for name in ("", "prefect", "prefect.flow_runs", "prefect.task_runs", "prefect.server"):
        for handler in logging.getLogger(name).handlers:
            if isinstance(handler, PrefectConsoleHandler):
                handler.setLevel(logging.CRITICAL + 1)
