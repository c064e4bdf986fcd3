"""`hpt spec`: a training stage for a launcher of one's own."""

from pathlib import Path
from typing import Annotated

import typer

from flows import graph as graphs
from flows.commands import common
from flows.commands.common import ConfigFile, DataDir, Json, Set, StoreOption
from flows.commands.run import make
from flows.config import PipelineConfig
from flows.context import context_of
from hpt_core.errors import ConfigError, StoreError
from hpt_core.files import write_text
from hpt_core.plugins import near
from hpt_core.trackers import check_all
from tasks.part import Stage
from tasks.train import MODULE, TrainPart

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
    file = write_spec(resolved, stage, out)
    if as_json:
        common.print_json({"stage": stage, "spec": str(file), "module": MODULE})
        return
    common.OUT.print(str(file), markup=False)
    common.ERR.print(f"[dim]torchrun --nproc-per-node N -m {MODULE} {file}; then hpt run takes it up[/]")


def write_spec(config: PipelineConfig, key: str, out: Path | None) -> Path:
    """Make what the stage depends on and write its spec; the file's path.

    Raises ConfigError where there is no such training stage, and StoreError where it is made already or being made:
    another program in its folder would spoil it.
    """
    stage, part = _training_stage(config, key)
    check_all(config.trackers)
    made = make(config, "train", stage.after)
    context = context_of(config)
    (unit,) = part.units(made, context)
    slot = context.store.slot(unit.kind, unit.fingerprint)
    if slot.manifest() is not None:
        raise StoreError(
            f"{key} is made already: {slot.folder}", f"`hpt rerun CONFIG --from {key}` makes it again, without a spec"
        )
    if holder := context.store.lease(slot).holder():
        raise StoreError(
            f"{key} is being made by process {holder['pid']} on {holder['host']}", "wait for it, or end it first"
        )
    file = (out or slot.folder / "spec.json").resolve()
    write_text(file, part.spec(slot, made, context).model_dump_json(indent=2, by_alias=True) + "\n")
    return file


def _training_stage(config: PipelineConfig, key: str) -> tuple[Stage, TrainPart]:
    stages = graphs.build(config)
    known = tuple(name for name in stages if name.startswith("train."))
    if key not in known:
        raise ConfigError(f"there is no training stage {key!r}", near(key, known) if known else "the config has none")
    (part,) = stages[key].parts
    assert isinstance(part, TrainPart)
    return stages[key], part
