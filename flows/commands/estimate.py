"""`hpt estimate`: what an evaluation will take, from a pilot of a few questions of each benchmark."""

from typing import Annotated

import typer
from rich.table import Table

from flows import graph as graphs
from flows.commands import common
from flows.commands.common import ConfigFile, DataDir, Json, Set, StoreOption
from flows.config import EvaluateConfig, PipelineConfig
from flows.context import context_of
from flows.display import Display, clock
from hpt_core.errors import ConfigError, StoreError
from hpt_core.evaluation.estimate import Estimate, UnitEstimate, whole
from hpt_core.plugins import near
from tasks.context import Context
from tasks.estimate import pilot
from tasks.evaluate import SamplePart
from tasks.part import Made
from tasks.stage import run_stage

app = typer.Typer()
Found = dict[str, dict[str, UnitEstimate]]
"""Model -> benchmark -> estimate."""


@app.command()
def estimate(
    config: ConfigFile,
    models: Annotated[list[str] | None, typer.Argument(metavar="[MODEL]...", help="NAME of evaluated models.")] = None,
    questions: Annotated[int, typer.Option("--questions", min=1, help="Questions of each benchmark to draw.")] = 4,
    overrides: Set = None,
    store: StoreOption = None,
    data_dir: DataDir = None,
    as_json: Json = False,
) -> None:
    """Estimate tokens, time and cost of an evaluation from a few questions, whose samples are kept for it."""
    resolved = common.read_config(config, overrides, store, data_dir)
    if resolved.evaluate is None:
        raise ConfigError("the config evaluates nothing", "give it a table [evaluate]")
    references = _references(resolved.evaluate, models)
    context = context_of(resolved)
    context.store.check_writable()
    found: Found = {}
    with Display([f"evaluate.{reference.split('.', 1)[1]}" for reference in references], common.ERR):
        for reference in references:
            found[reference] = _pilot(resolved, reference, context, questions)
    totals = {reference: whole(units.values(), resolved.evaluate.budget) for reference, units in found.items()}
    if as_json:
        common.print_json(
            [
                {
                    "model": reference,
                    **totals[reference].model_dump(),
                    "benchmarks": [unit.model_dump() for unit in units.values()],
                }
                for reference, units in found.items()
            ]
        )
        return
    for reference, units in found.items():
        _print(reference, units, totals[reference], bool(resolved.evaluate.budget.prices))


def _references(evaluation: EvaluateConfig, models: list[str] | None) -> list[str]:
    known = {reference.split(".", 1)[1]: reference for reference in evaluation.models}
    found = []
    for model in models or known:
        name = model.split(".", 1)[-1]
        if name not in known:
            raise ConfigError(f"the config evaluates no model {model!r}", near(name, tuple(known)))
        found.append(known[name])
    return found


def _pilot(config: PipelineConfig, reference: str, context: Context, questions: int) -> dict[str, UnitEstimate]:
    """A model that is only fetched is made, one that has to be trained must be there."""
    stage = graphs.select(config, [f"evaluate.{reference.split('.', 1)[1]}"])
    made: dict[str, Made] = dict(graphs.plan(stage, context).made)
    if reference.startswith("train.") and (reference not in made or made[reference].provisional):
        raise StoreError(
            f"{reference} is not trained yet", f"run `hpt train` first, or estimate {config.root(reference)}"
        )
    (key,) = (key for key in stage if key.startswith("evaluate."))
    for needed in stage[key].after:
        if needed not in made or made[needed].provisional:
            made |= run_stage(stage[needed], made, context)
    (part,) = (part for part in stage[key].parts if isinstance(part, SamplePart))
    found = pilot(part, made, context, questions)
    return {key.rsplit("/", 1)[-1]: unit for key, unit in found.items()}


def _print(reference: str, units: dict[str, UnitEstimate], total: Estimate, priced: bool) -> None:
    if not units:
        common.OUT.print(f"[bold]{reference}[/]: every sample is drawn already")
        return
    columns = ("benchmark", "samples left", "tokens each", "tokens")
    table = Table(*columns, box=None, pad_edge=False, header_style="bold")
    for column in table.columns[1:]:
        column.justify = "right"
    for name, unit in units.items():
        margin = "" if unit.margin_tokens is None else f" ± {unit.margin_tokens:,.0f}"
        table.add_row(name, f"{unit.missing:,}", f"{unit.mean_tokens:,.0f}{margin}", f"{unit.tokens:,.0f}")
    common.OUT.print(f"[bold]{reference}[/]")
    common.OUT.print(table)
    interval = "no interval from one question"
    if total.tokens_low is not None:
        interval = f"95 % interval {total.tokens_low:,} to {total.tokens_high:,}"
    cost = f", cost {total.cost:,.2f}" if priced else ""
    common.OUT.print(
        f"{total.tokens:,} tokens to draw ({interval}), {total.prompt_tokens:,} of prompts; "
        f"at most about {clock(total.seconds)} at the pilot's speed{cost}\n"
    )
