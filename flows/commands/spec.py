"""`hpt spec`: a training stage for a launcher of one's own."""

from pathlib import Path
from typing import Annotated

import typer

from flows.commands import common
from flows.commands.common import ConfigFile, DataDir, Json, Set, StoreOption
from flows.commands.run import make
from flows.run import RunOptions, context_of, plan_run
from hpt_core.errors import ConfigError, StoreError, near
from hpt_core.files import write_text
from hpt_core.trackers import check_all
from tasks import train
from tasks.execution.config import PipelineConfig

app = typer.Typer()


@app.command()
def spec(
    config: ConfigFile,
    stage: Annotated[str, typer.Argument(metavar="train.NAME", help="Training stage.", show_default=False)],
    out: Annotated[
        Path | None, typer.Option("--out", metavar="FILE", help="Where the spec goes; the stage's folder if not given.")
    ] = None,
    overrides: Set = None,
    store: StoreOption = None,
    data_dir: DataDir = None,
    as_json: Json = False,
) -> None:
    """Write a training stage's spec, for `torchrun ... -m hpt_core.train SPEC`; what it starts from is made.

    `hpt run` with the same config then takes up what the training wrote.
    """
    resolved = common.read_config(config, overrides, store, data_dir)
    common.resumes_with("spec", config, [stage], out=out, set=overrides, store=store, data_dir=data_dir)
    file = write_spec(resolved, stage, out)
    if as_json:
        common.print_json({"stage": stage, "spec": str(file), "module": train.MODULE})
        return
    common.OUT.print(str(file), markup=False)
    common.ERR.print(f"[dim]torchrun --nproc-per-node N -m {train.MODULE} {file}; then hpt run takes it up[/]")


def write_spec(config: PipelineConfig, key: str, out: Path | None) -> Path:
    """Make what the stage depends on and write its spec; the file's path.

    Raises ConfigError where there is no such training stage, and StoreError where it is made already or being made:
    another program in its folder would spoil it.
    """
    known = tuple(map(str, plan_run(config).graph))
    if key not in known or not key.startswith(f"{train.KIND.name}."):
        stages = tuple(name for name in known if name.startswith(f"{train.KIND.name}."))
        raise ConfigError(f"there is no training stage {key!r}", near(key, stages) if stages else "the config has none")
    check_all(config.trackers)
    run = plan_run(config, RunOptions(goals=(key,)))
    stage = next(stage for name, stage in run.graph.items() if str(name) == key)
    artifacts = make(config, RunOptions(goals=tuple(map(str, stage.after))))
    (step,) = stage.steps
    assert isinstance(step, train.TrainStep)
    context = context_of(config)
    (target,) = step.targets(artifacts, context)
    slot = context.store.slot(target.kind, target.fingerprint)
    if slot.manifest() is not None:
        raise StoreError(
            f"{key} is made already: {slot.folder}", f"`hpt rerun CONFIG --from {key}` makes it again, without a spec"
        )
    if holder := context.store.lease(slot).holder():
        raise StoreError(
            f"{key} is being made by process {holder['pid']} on {holder['host']}", "wait for it, or end it first"
        )
    file = (out or slot.folder / "spec.json").resolve()
    write_text(file, step.spec(slot, artifacts, context).model_dump_json(indent=2, by_alias=True) + "\n")
    return file
