"""Commands that run stages: `hpt run`, `hpt rerun`, `hpt regrade` and one per kind of stage."""

from typing import Annotated

import typer

from flows.api import make
from flows.commands import common
from flows.commands.common import ConfigFile, DataDir, Force, Json, Set, StoreOption, Strict, Verify
from flows.commands.result import print_result
from flows.run import RunOptions
from tasks import evaluate
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
    """Run a pipeline. Artifacts in the store are reused, and interrupted stages continue."""
    resolved = common.read_config(config, overrides, store, data_dir)
    common.resumes_with("run", config, set=overrides, store=store, data_dir=data_dir, strict=strict)
    execute(resolved, RunOptions(rerun=force, verify=verify, strict=strict), as_json)


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
    execute(resolved, RunOptions(rerun_from=from_stage, verify=verify, strict=strict), as_json)


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
    goals = _goals(resolved, evaluate.KIND.name, names)
    execute(resolved, RunOptions(goals=goals, rerun_only=evaluate.GradeStep.kind), as_json)


def _goals(config: PipelineConfig, kind: str, names: list[str] | None) -> tuple[str, ...]:
    """Goals for the kind's stages with these names; the whole kind without names.

    A name is bare ("hpt") or a stage's ("train.hpt"). An evaluation also has the name of its model's stage.
    """

    def goal(name: str) -> str:
        if name.startswith(f"{kind}."):
            return name
        if kind == evaluate.KIND.name and "." in name:
            (model,) = common.evaluated(config, [name])
            return str(evaluate.KIND.stage_of(model))
        return f"{kind}.{name}"

    return tuple(map(goal, names or ())) or (kind,)


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
        options = RunOptions(goals=_goals(resolved, kind, names), rerun=force, verify=verify, strict=strict)
        execute(resolved, options, as_json)

    command.__doc__ = f"{what}. Missing dependencies run first."
    app.command(name)(command)


for _kind in pipeline_type({}).known_kinds:
    if _kind.command is not None:
        _stage_command(_kind.name, *_kind.command)


def execute(config: PipelineConfig, options: RunOptions, as_json: bool) -> None:
    """Run the goals and print the result."""
    artifacts = make(config, options, console=common.ERR, verbose=common.STATE.debug)
    print_result(config, artifacts, as_json)
