"""Options that several commands share."""

from pathlib import Path
from typing import Annotated

import typer

from bench.machine import CORES, ROOT

Threads = Annotated[int, typer.Option(help="threads of each measured process", show_default="all cores")]
Out = Annotated[Path, typer.Option(help="file of the record; docs/benchmarks.md shows the files in bench/results/")]
Data = Annotated[Path, typer.Option(envvar="HPT_DATA", help="folder with benchmarks/NAME.json")]
Model = Annotated[Path, typer.Option(help="model folder")]
TrlPython = Annotated[Path | None, typer.Option(help="Python of an environment with TRL; created by default")]
LmEvalPython = Annotated[Path | None, typer.Option(help="the same for lm-evaluation-harness")]
LightevalPython = Annotated[Path | None, typer.Option(help="the same for lighteval")]

THREADS = CORES
MODEL = ROOT / "models" / "smollm2-135m"


def require_model(folder: Path) -> None:
    """Exit if `folder` holds no model."""
    if not (folder / "config.json").exists():
        raise typer.BadParameter(f"there is no model in {folder}; create it: hpt models fetch smollm2-135m")
