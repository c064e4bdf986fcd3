"""`hpt spec`: write a training stage's spec, to start it with your own launcher."""

from pathlib import Path
from typing import Annotated

import typer

from flows.api import make
from flows.commands import common
from flows.commands.common import ConfigFile, DataDir, Json, Set, StoreOption
from flows.run import RunOptions, context_of, plan_run
from hpt_core.errors import ConfigError, StoreError, near
from hpt_core.trackers import check_all
from tasks import train
from tasks.execution import process
from tasks.execution.config import PipelineConfig

app = typer.Typer()


@app.command()
def spec(
    config: ConfigFile,
    stage: Annotated[str, typer.Argument(metavar="train.NAME", help="Training stage.", show_default=False)],
    out: Annotated[
        Path | None, typer.Option("--out", metavar="FILE", help="File to write. Default: in the stage's folder.")
    ] = None,
    overrides: Set = None,
    store: StoreOption = None,
    data_dir: DataDir = None,
    as_json: Json = False,
) -> None:
    """Write a training stage's spec for `torchrun ... -m hpt_core.train SPEC`, and run the stage's dependencies.

    `hpt run` with the same config then picks up the trained model.
    """
    resolved = common.read_config(config, overrides, store, data_dir)
    common.resumes_with("spec", config, [stage], out=out, set=overrides, store=store, data_dir=data_dir)
    file = write_spec(resolved, stage, out)
    if as_json:
        common.print_json({"stage": stage, "spec": str(file), "module": train.MODULE})
        return
    common.OUT.print(str(file), markup=False)
    common.ERR.print(f"[dim]run torchrun --nproc-per-node N -m {train.MODULE} {file}, then hpt run[/]")


def write_spec(config: PipelineConfig, key: str, out: Path | None) -> Path:
    """Run the stage's dependencies, write its spec and return the file's path.

    Raises ConfigError for an unknown training stage, and StoreError if the stage is finished or running, because a
    second program would corrupt its folder.
    """
    stages = {str(name): stage for name, stage in plan_run(config).graph.items() if name.kind == train.KIND.name}
    if key not in stages:
        hint = near(key, tuple(stages)) if stages else "the config has none"
        raise ConfigError(f"there is no training stage {key!r}", hint)
    check_all(config.trackers)
    stage = stages[key]
    options = RunOptions(only=tuple(map(str, stage.after)))
    artifacts = make(config, options, console=common.ERR, verbose=common.STATE.debug)
    (step,) = stage.steps
    assert isinstance(step, train.TrainStep)
    context = context_of(config)
    (target,) = step.targets(artifacts, context)
    slot = context.store.slot(target.kind, target.fingerprint)
    context.store.refresh([slot])
    if slot.manifest() is not None:
        raise StoreError(
            f"{key} is already trained: {slot.folder}", f"use `hpt rerun CONFIG --from {key}`, which needs no spec"
        )
    if holder := context.store.lease(slot).holder():
        raise StoreError(f"{key} is being run by {holder}", "wait for it, or end it first")
    file = (out or slot.folder / "spec.json").resolve()
    process.write_spec(file, step.spec(slot, artifacts, context))
    return file
