"""Commands that run stages: `hpt run`, `hpt rerun`, `hpt regrade` and one per kind of stage."""

from typing import Annotated, Any

import typer

from flows.api import make
from flows.commands import common
from flows.commands.common import ConfigFile, DataDir, Force, Json, Publish, Set, StoreOption, Strict, Verify
from flows.commands.result import print_result
from flows.run import RunOptions, StagesFailed
from hpt_core.errors import ConfigError
from tasks import evaluate, report
from tasks.execution.config import PipelineConfig, pipeline_type
from tasks.execution.kind import StageKind

app = typer.Typer()
ALL = ("*",)
WHAT = "train.hpt, train, hpt, evaluate.hpt/aime24, or a glob. Repeatable."
Only = Annotated[list[str] | None, typer.Option("--only", metavar="WHAT", help=f"Run only this: {WHAT}")]
Again = Annotated[list[str] | None, typer.Option("--only", metavar="WHAT", help=f"Rerun only this: {WHAT}")]
Complete = Annotated[bool, typer.Option("--complete", help="Report and publish only if every model was measured.")]
AsIs = Annotated[bool, typer.Option("--as-is", help="Take what is finished, and run no missing dependency.")]
From = Annotated[
    list[str] | None, typer.Option("--from", metavar="WHAT", help="Rerun this and everything that depends on it.")
]
Names = Annotated[list[str] | None, typer.Argument(metavar="[NAME]...", help="Names of stages. Default: all.")]


@app.command()
def run(
    config: ConfigFile,
    only: Only = None,
    overrides: Set = None,
    store: StoreOption = None,
    data_dir: DataDir = None,
    force: Force = False,
    verify: Verify = False,
    strict: Strict = False,
    complete: Complete = False,
    as_board: Publish = False,
    as_json: Json = False,
) -> None:
    """Run a pipeline. Artifacts in the store are reused, and interrupted stages continue.

    If a stage fails, what does not need it still runs, and the report names what is missing. With --set, the report
    gets a page of its own and the published board stays as it is, unless --publish is given.
    """
    resolved = common.read_config(config, overrides, store, data_dir, as_board)
    given: dict[str, Any] = {"only": only, "set": overrides, "store": store, "data_dir": data_dir, "strict": strict}
    common.resumes_with("run", config, None, **given, complete=complete, publish=as_board)
    named, changed = tuple(only or ()), tuple(overrides or ())
    again = (named or ALL) * force
    options = RunOptions(only=named, rerun=again, verify=verify, strict=strict, complete=complete, overrides=changed)
    execute(resolved, options, as_json)


@app.command()
def rerun(
    config: ConfigFile,
    start: From = None,
    only: Again = None,
    overrides: Set = None,
    store: StoreOption = None,
    data_dir: DataDir = None,
    verify: Verify = False,
    strict: Strict = False,
    as_board: Publish = False,
    as_json: Json = False,
) -> None:
    """Rerun a stage, a model or a benchmark, with or without everything that depends on it. The rest is reused."""
    if bool(start) == bool(only):
        raise ConfigError("hpt rerun takes either --from or --only", "for example --from train.hpt")
    resolved = common.read_config(config, overrides, store, data_dir, as_board)
    given: dict[str, Any] = {"only": only, "set": overrides, "store": store, "data_dir": data_dir, "strict": strict}
    common.resumes_with("run", config, None, **given, publish=as_board)
    named = tuple(only or ())
    options = RunOptions(
        only=named,
        rerun=named,
        rerun_from=tuple(start or ()),
        verify=verify,
        strict=strict,
        overrides=tuple(overrides or ()),
    )
    execute(resolved, options, as_json)


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
    verdicts = tuple(f"{stage}/{evaluate.GradeStep.kind}" for stage in _stages(resolved, evaluate.KIND.name, names))
    options = RunOptions(only=verdicts, rerun=verdicts, only_ready=True, overrides=tuple(overrides or ()))
    execute(resolved, options, as_json)


def _stages(config: PipelineConfig, kind: str, names: list[str] | None) -> tuple[str, ...]:
    """The kind's stages with these names; the whole kind without names.

    A name is bare ("hpt") or a stage's ("train.hpt"). An evaluation also has the name of its model's stage.
    """

    def stage(name: str) -> str:
        if name.startswith(f"{kind}."):
            return name
        if kind == evaluate.KIND.name and "." in name:
            (model,) = common.evaluated(config, [name])
            return str(evaluate.KIND.stage_of(model))
        return f"{kind}.{name}"

    return tuple(map(stage, names or ())) or (kind,)


def _stage_command(kind: StageKind, name: str, what: str) -> None:
    def command(
        config: ConfigFile,
        names: Names = None,
        overrides: Set = None,
        store: StoreOption = None,
        data_dir: DataDir = None,
        force: Force = False,
        verify: Verify = False,
        strict: Strict = False,
        as_is: AsIs = False,
        as_json: Json = False,
    ) -> None:
        resolved = common.read_config(config, overrides, store, data_dir, replace_board=kind.replaces_board)
        common.resumes_with(name, config, names, set=overrides, store=store, data_dir=data_dir, strict=strict)
        stages, again = _stages(resolved, kind.name, names), _stages(resolved, kind.name, names) * force
        if kind.then and not names and any(k.name == kind.then[0] and list(k.stages(resolved)) for k in KINDS):
            stages += (kind.then[0],)
        changed = tuple(overrides or ())
        execute(
            resolved,
            RunOptions(only=stages, rerun=again, verify=verify, strict=strict, as_is=as_is, overrides=changed),
            as_json,
        )

    then = f", then {kind.then[1]}" if kind.then else ""
    command.__doc__ = f"{what}{then}. Missing dependencies run first."
    app.command(name)(command)


KINDS = pipeline_type({}).known_kinds
for _kind in KINDS:
    if _kind.command is not None:
        _stage_command(_kind, *_kind.command)


def execute(config: PipelineConfig, options: RunOptions, as_json: bool) -> None:
    """Run the pipeline and print the result."""
    try:
        artifacts = make(config, options, console=common.ERR, verbose=common.STATE.debug)
    except StagesFailed as error:
        if error.artifacts.of(report.KIND.key()):
            print_result(config, error.artifacts, as_json)
        raise
    print_result(config, artifacts, as_json)
