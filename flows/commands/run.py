"""Commands that run stages: `hpt run`, `hpt rerun`, `hpt regrade` and one per kind of stage."""

from typing import Annotated

import typer

from flows.commands import common
from flows.commands.common import ConfigFile, DataDir, Force, Json, Set, StoreOption, Strict, Verify
from flows.commands.result import print_result
from flows.display import Display
from flows.run import RunOptions, plan_run, preflight, reuse
from flows.server import run_flow
from tasks.execution.artifact import Artifacts
from tasks.execution.config import PipelineConfig, pipeline_type

app = typer.Typer()
FromStage = Annotated[str, typer.Option("--from", help="Stage to rerun, with every stage that depends on it.")]
Names = Annotated[list[str] | None, typer.Argument(metavar="[NAME]...", help="Names of stages. Default: all.")]


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
    """Run a pipeline. Outputs in the store are reused, and interrupted stages continue."""
    resolved = common.read_config(config, overrides, store, data_dir)
    common.resumes_with("run", config, set=overrides, store=store, data_dir=data_dir, strict=strict)
    execute(resolved, RunOptions(force=force, verify=verify, strict=strict), as_json)


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
    """Rerun a stage and every stage that depends on it. Earlier stages are reused."""
    resolved = common.read_config(config, overrides, store, data_dir)
    common.resumes_with("run", config, set=overrides, store=store, data_dir=data_dir, strict=strict)
    execute(resolved, RunOptions(from_stage=from_stage, verify=verify, strict=strict), as_json)


@app.command()
def regrade(
    config: ConfigFile,
    names: Names = None,
    overrides: Set = None,
    store: StoreOption = None,
    data_dir: DataDir = None,
    as_json: Json = False,
) -> None:
    """Grade the stored samples again without generating new ones. `hpt report` then shows the new scores."""
    resolved = common.read_config(config, overrides, store, data_dir)
    common.resumes_with("regrade", config, names, set=overrides, store=store, data_dir=data_dir)
    execute(resolved, RunOptions(goals=_goals("evaluate", names), remake="verdicts"), as_json)


def _goals(kind: str, names: list[str] | None) -> tuple[str, ...]:
    """Goals for the kind's stages with these names ("hpt" or "train.hpt"); the whole kind without names."""
    return tuple(name if name.startswith(f"{kind}.") else f"{kind}.{name}" for name in names or ()) or (kind,)


def _stage_command(kind: str, name: str, what: str) -> None:
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
        common.resumes_with(name, config, names, set=overrides, store=store, data_dir=data_dir, strict=strict)
        options = RunOptions(goals=_goals(kind, names), force=force, verify=verify, strict=strict)
        execute(resolved, options, as_json)

    command.__doc__ = f"{what}. Missing dependencies run first."
    app.command(name)(command)


for _kind in pipeline_type({}).known_kinds:
    if _kind.command is not None:
        _stage_command(_kind.name, *_kind.command)


def execute(config: PipelineConfig, options: RunOptions, as_json: bool) -> None:
    """Run the goals and print the result."""
    print_result(config, make(config, options, as_json), as_json)


def make(config: PipelineConfig, options: RunOptions, quiet: bool = False) -> Artifacts:
    """Run the goals and their dependencies, and return their artifacts."""
    planned = plan_run(config, options)
    preflight(planned)
    if planned.plan.finished:
        # Starting Prefect would take longer than everything else.
        for key in () if quiet else planned.graph:
            common.ERR.print(f"{key}: reused")
        return reuse(planned)
    common.ERR.print("[dim]starting Prefect[/]")
    with Display(planned.graph, common.ERR):
        return run_flow(planned, verbose=common.STATE.debug)
