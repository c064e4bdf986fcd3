"""`hpt algorithms show`: the parts of an algorithm."""

from pathlib import Path
from typing import Annotated, Any

import typer
from pydantic import ValidationError
from rich.markup import escape
from rich.table import Table

from flows.commands import common
from flows.commands.common import Json
from flows.explain import explain
from flows.fields import toml
from flows.load import apply, load_config
from hpt_core.errors import ConfigError, near
from hpt_core.plugins import PluginConfig, summary
from hpt_core.upge.algorithm import Algorithm
from hpt_core.upge.signal import Signal
from tasks import train

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
"""Field of a signal -> its label."""


@algorithms.callback()
def group() -> None:
    """Algorithms and their parts."""


@algorithms.command()
def show(
    name: Annotated[str, typer.Argument(metavar="NAME", help="Algorithm; with --config, a stage such as train.hpt.")],
    overrides: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="A.B=C", help="Set a field, such as gate.gamma=0.25. Repeatable."),
    ] = None,
    config: Annotated[
        Path | None, typer.Option("--config", help="TOML file of the pipeline that has the stage NAME.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Show an algorithm's equation and gate, each signal's four parts and aggregation, and the regularizers.

    With --config, --set takes the same paths as in the other commands.
    """
    algorithm = of_name(name, overrides or []) if config is None else of_stage(config, name, overrides or [])
    if as_json:
        common.print_json(as_data(algorithm))
        return
    _print(algorithm)


def of_name(name: str, overrides: list[str]) -> Algorithm:
    """The algorithm with its defaults and with overrides of its own fields. Raises ConfigError."""
    kind = Algorithm.plugin_kind.load(name)
    table: dict[str, Any] = {}
    for override in overrides:
        apply(table, override, example="gate.gamma=0.25")
    try:
        algorithm: Algorithm = kind.model_validate(table)
    except ValidationError as error:
        raise explain(error, f"algorithm {name}", table, overrides, kind) from error
    return algorithm


def of_stage(config: Path, key: str, overrides: list[str]) -> Algorithm:
    """The algorithm of a pipeline's training stage. Raises ConfigError."""
    trained = train.KIND.of(load_config(config, overrides))
    stages = {str(train.KIND.key(name)): stage for name, stage in trained.items()}
    if key not in stages:
        raise ConfigError(f"there is no training stage {key!r}", near(key, tuple(stages)) if stages else "add one")
    algorithm: Algorithm = stages[key].algorithm
    return algorithm


def as_data(algorithm: Algorithm) -> dict[str, Any]:
    """Everything that the command shows, as JSON data."""
    return {
        "name": algorithm.name,
        "summary": summary(algorithm),
        "equation": algorithm.equation,
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


def _part_data(part: PluginConfig) -> dict[str, Any]:
    return {**part.model_dump(mode="json"), "summary": summary(part)}


def _print(algorithm: Algorithm) -> None:
    common.OUT.print(f"[bold]{algorithm.name}[/]  {escape(summary(algorithm))}\n")
    for line in algorithm.equation.splitlines():
        common.OUT.print(f"    {escape(line)}")
    common.OUT.print()
    _rows({"gate": algorithm.gate}, "")
    for name, signal in algorithm.signals.items():
        _rows({called: getattr(signal, field) for field, called in PARTS.items()}, _heading(algorithm, name, signal))
    if algorithm.regularizers:
        _rows({f"regularizer {i}": term for i, term in enumerate(algorithm.regularizers, 1)}, "")


def _heading(algorithm: Algorithm, name: str, signal: Signal) -> str:
    where = "the demonstration" if signal.on == "demonstration" else signal.on
    unchosen = "" if name in algorithm.gate.signal_names else "  [dim](the gate never selects it)[/]"
    return f"signal [bold]{escape(name)}[/] on {where}, coefficient {signal.coefficient:g}{unchosen}"


def _rows(parts: dict[str, PluginConfig], heading: str) -> None:
    """Print a table of parts under an optional heading."""
    if heading:
        common.OUT.print(heading)
    table = Table(box=None, pad_edge=False, show_header=False, padding=(0, 2, 0, 0))
    table.add_column(no_wrap=True, style="dim", min_width=max(map(len, PARTS.values())))
    table.add_column(no_wrap=True, style="cyan")
    table.add_column(no_wrap=False)
    table.add_column(no_wrap=False)
    for called, part in parts.items():
        settings = {field: value for field, value in part.model_dump(mode="json").items() if field != "name"}
        shown = ", ".join(f"{field} = {toml(value)}" for field, value in settings.items())
        table.add_row(called, str(getattr(part, "name", "")), escape(shown), escape(summary(part)))
    common.OUT.print(table)
    common.OUT.print()
