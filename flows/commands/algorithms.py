"""`hpt algorithms show`: what an algorithm is composed of."""

import inspect
import sys
from pathlib import Path
from typing import Annotated, Any

import typer
from pydantic import BaseModel, ValidationError
from rich.markup import escape
from rich.table import Table

from flows.commands import common
from flows.commands.common import Json
from flows.config import PipelineConfig
from flows.load import apply, explain, load_config
from hpt_core.algorithms import describe, equation
from hpt_core.errors import ConfigError, HPTError
from hpt_core.plugins import load, near
from hpt_core.upge.algorithm import Algorithm
from hpt_core.upge.signal import Signal

app = typer.Typer()
algorithms = typer.Typer(help="Algorithms and their parts.", no_args_is_help=True)
app.add_typer(algorithms, name="algorithms")

PARTS = {
    "stabilization_mask": "stabilization mask",
    "reference_policy": "reference policy",
    "advantage": "advantage",
    "likelihood_gradient": "likelihood gradient",
    "aggregation": "aggregation",
}
"""Field of a signal -> what it is called."""


@algorithms.callback()
def group() -> None:
    """Algorithms and their parts."""


@algorithms.command()
def show(
    name: Annotated[str, typer.Argument(metavar="NAME", help="Algorithm; with --config, a stage such as train.hpt.")],
    overrides: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="A.B=C", help="Change a field, such as gate.gamma=0.25; may be given again."),
    ] = None,
    config: Annotated[
        Path | None, typer.Option("--config", help="Pipeline's TOML file that NAME is a stage of.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Show an algorithm's equation, its gate, the four parts and the aggregation of each signal, and its regularizers.

    With --config, --set takes the same paths as in the other commands.
    """
    algorithm = of_name(name, overrides or []) if config is None else of_stage(config, name, overrides or [])
    if as_json:
        common.print_json(as_data(algorithm))
        return
    _print(algorithm)


def of_name(name: str, overrides: list[str]) -> Algorithm:
    """The algorithm as shipped, with overrides of its own fields. Raises ConfigError."""
    load("hpt_core.algorithms", name)
    stage = {"from": "model.m", "data": "data.d", "algorithm": {"name": name}, "steps": 1}
    table: dict[str, Any] = {
        "name": "shown",
        "model": {"m": {"source": "scratch"}},
        "data": {"d": {"source": {"name": "procedural", "rows": 1, "seed": 0}, "model": "model.m"}},
        "train": {name: stage},
    }
    for override in overrides:
        field, equals, _ = override.partition("=")
        if not equals or not field.strip():
            raise ConfigError(f"--set {override!r} is not of the form a.b=c", "for example --set gate.gamma=0.25")
    path = f"train.{name}.algorithm."
    given = [path + override for override in overrides]
    try:
        shipped = PipelineConfig.model_validate(table)
        for override in given:
            apply(table, override, shipped)
        return PipelineConfig.model_validate(table).train[name].algorithm
    except ValidationError as error:
        found = explain(error, f"algorithm {name}", given, table)
    except HPTError as error:
        found = error
    raise ConfigError(found.cause.replace(path, ""), found.remedy.replace(path, ""))


def of_stage(config: Path, key: str, overrides: list[str]) -> Algorithm:
    """The algorithm of a pipeline's training stage. Raises ConfigError."""
    stages = {f"train.{name}": stage for name, stage in load_config(config, overrides).train.items()}
    if key not in stages:
        raise ConfigError(f"there is no training stage {key!r}", near(key, tuple(stages)) if stages else "add one")
    return stages[key].algorithm


def as_data(algorithm: Algorithm) -> dict[str, Any]:
    """Everything that is shown, for machines."""
    return {
        "name": algorithm.name,
        "summary": describe(algorithm.name),
        "equation": equation(algorithm.name),
        "gate": _part_data(algorithm.gate),
        "signals": {
            name: {
                "on": signal.on,
                "coefficient": signal.coefficient,
                "chosen": name in algorithm.gate.signal_names,
                **{field: _part_data(getattr(signal, field)) for field in PARTS},
            }
            for name, signal in algorithm.signals.items()
        },
        "regularizers": [_part_data(term) for term in algorithm.regularizers],
    }


def _part_data(part: BaseModel) -> dict[str, Any]:
    return {**part.model_dump(mode="json"), "summary": _summary(part)}


def _summary(part: BaseModel) -> str:
    """The first line of its module's documentation."""
    return (inspect.getdoc(sys.modules[type(part).__module__]) or "").partition("\n")[0]


def _print(algorithm: Algorithm) -> None:
    common.OUT.print(f"[bold]{algorithm.name}[/]  {escape(describe(algorithm.name))}\n")
    for line in equation(algorithm.name).splitlines():
        common.OUT.print(f"    {escape(line)}")
    common.OUT.print()
    _rows({"gate": algorithm.gate}, "")
    for name, signal in algorithm.signals.items():
        _rows({called: getattr(signal, field) for field, called in PARTS.items()}, _heading(algorithm, name, signal))
    if algorithm.regularizers:
        _rows({f"regularizer {i}": term for i, term in enumerate(algorithm.regularizers, 1)}, "")


def _heading(algorithm: Algorithm, name: str, signal: Signal) -> str:
    where = "the demonstration" if signal.on == "demonstration" else signal.on
    unchosen = "" if name in algorithm.gate.signal_names else "  [dim](the gate does not choose it)[/]"
    return f"signal [bold]{escape(name)}[/] on {where}, coefficient {signal.coefficient:g}{unchosen}"


def _rows(parts: dict[str, BaseModel], heading: str) -> None:
    """A table of parts; without a heading, the first column says what they are."""
    if heading:
        common.OUT.print(heading)
    table = Table(box=None, pad_edge=False, show_header=False, padding=(0, 2, 0, 0))
    table.add_column(no_wrap=True, style="dim", min_width=max(map(len, PARTS.values())))
    table.add_column(no_wrap=True, style="cyan")
    table.add_column(no_wrap=False)
    table.add_column(no_wrap=False)
    for called, part in parts.items():
        settings = {field: value for field, value in part.model_dump(mode="json").items() if field != "name"}
        shown = ", ".join(f"{field} = {_value(value)}" for field, value in settings.items())
        table.add_row(called, str(getattr(part, "name", "")), escape(shown), escape(_summary(part)))
    common.OUT.print(table)
    common.OUT.print()


def _value(value: Any) -> str:
    """As in TOML, where it can be said there."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, list):
        return f"[{', '.join(map(_value, value))}]"
    return f'"{value}"' if isinstance(value, str) else "none" if value is None else f"{value:g}"
