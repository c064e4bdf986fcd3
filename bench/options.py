"""Options that several commands have."""

from pathlib import Path
from typing import Annotated

import typer

from bench.machine import CORES, ROOT

Threads = Annotated[int, typer.Option(help="threads of each measured process", show_default="every core")]
Out = Annotated[Path, typer.Option(help="file of the record; bench/results/ holds those that the document shows")]
Data = Annotated[Path, typer.Option(envvar="HPT_DATA", help="folder that holds benchmarks/NAME.json")]
Model = Annotated[Path, typer.Option(help="model folder")]
TrlPython = Annotated[Path | None, typer.Option(help="interpreter of an environment with TRL; made where not given")]
LmEvalPython = Annotated[Path | None, typer.Option(help="the same with lm-evaluation-harness")]
LightevalPython = Annotated[Path | None, typer.Option(help="the same with lighteval")]

THREADS = CORES
MODEL = ROOT / "models" / "smollm2-135m"


def require_model(folder: Path) -> None:
    """End the command where there is no model."""
    if not (folder / "config.json").exists():
        raise typer.BadParameter(f"there is no model in {folder}; make it: hpt models fetch smollm2-135m")
