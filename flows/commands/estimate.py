"""`hpt estimate`: the cost of an evaluation, from a pilot of a few questions per benchmark; or, with --gpu-hours, the
computation of all stages, by arithmetic."""

from collections.abc import Sequence
from typing import Annotated, Any

import typer
from rich.table import Table

from flows.commands import common
from flows.commands.common import ConfigFile, DataDir, Json, Set, StoreOption
from flows.compute import Assumptions, StageCompute, of_pipeline, total
from flows.display import Display, clock
from flows.run import RunOptions, plan_run
from hpt_core.errors import ConfigError, StoreError
from hpt_core.evaluation.estimate import Estimate, UnitEstimate, whole
from tasks import evaluate
from tasks.execution.artifact import Artifacts
from tasks.execution.config import PipelineConfig
from tasks.execution.keys import MODEL, StageKey
from tasks.execution.stage import run_stage

app = typer.Typer()
Found = dict[StageKey, dict[str, UnitEstimate]]
"""Model -> benchmark -> estimate."""


def _assumed(text: str) -> Any:
    return typer.Option(min=1e-9, rich_help_panel="Assumptions of --gpu-hours", help=text)


@app.command()
def estimate(
    config: ConfigFile,
    models: Annotated[
        list[str] | None, typer.Argument(metavar="[MODEL]...", help="Evaluated models: hpt, or train.hpt.")
    ] = None,
    questions: Annotated[int, typer.Option("--questions", min=1, help="Pilot questions per benchmark.")] = 4,
    gpu_hours: Annotated[
        bool, typer.Option("--gpu-hours", help="Compute GPU-hours of all stages instead; runs nothing.")
    ] = False,
    parameters: Annotated[float | None, _assumed("Parameters of the model, such as 7.6e9.")] = None,
    response_tokens: Annotated[float, _assumed("Mean tokens of a response.")] = 2500,
    prompt_tokens: Annotated[float, _assumed("Mean tokens of a prompt.")] = 150,
    peak_tflops: Annotated[float, _assumed("Peak TFLOP/s of a GPU: an H100 in bfloat16.")] = 989,
    training: Annotated[float, _assumed("Share of it that training reaches.")] = 0.29,
    decoding: Annotated[float, _assumed("Share of it that sampling reaches.")] = 0.08,
    overrides: Set = None,
    store: StoreOption = None,
    data_dir: DataDir = None,
    as_json: Json = False,
) -> None:
    """Estimate tokens, time and cost of an evaluation from a few questions. The evaluation reuses their samples.

    With --gpu-hours, compute what all stages take, from the config and the assumptions that the options set.
    """
    resolved = common.read_config(config, overrides, store, data_dir)
    if gpu_hours:
        if models:
            raise ConfigError("--gpu-hours takes no models", "it computes all stages of the config")
        assumed = Assumptions(parameters, response_tokens, prompt_tokens, peak_tflops, training, decoding)
        _print_compute(list(of_pipeline(plan_run(resolved), assumed)), assumed, as_json)
        return
    keys = common.evaluated(resolved, models)
    budget = evaluate.KIND.of(resolved).budget
    found: Found = {}
    with Display(map(evaluate.KIND.stage_of, keys), common.ERR):
        for key in keys:
            found[key] = _pilot(resolved, key, questions)
    totals = {key: whole(units.values(), budget) for key, units in found.items()}
    if as_json:
        common.print_json(
            [
                {
                    "model": str(key),
                    **totals[key].model_dump(),
                    "benchmarks": [unit.model_dump() for unit in units.values()],
                }
                for key, units in found.items()
            ]
        )
        return
    for key, units in found.items():
        _print(str(key), units, totals[key], bool(budget.prices))


def _print_compute(stages: Sequence[StageCompute], assumed: Assumptions, as_json: bool) -> None:
    if not stages:
        raise ConfigError("the config neither trains nor evaluates", "there is nothing to compute")
    if as_json:
        common.print_json([{**stage._asdict(), "stage": str(stage.stage)} for stage in stages])
        return
    table = Table("stage", "generated tokens", "trained tokens", "GPU-hours", box=None, pad_edge=False)
    for column in table.columns[1:]:
        column.justify = "right"
    for stage in [*stages, total(stages)]:
        sizes = (f"{tokens / 1e6:,.1f} M" for tokens in (stage.generated_tokens, stage.trained_tokens))
        table.add_row(str(stage.stage), *sizes, f"{stage.gpu_hours:,.3g}")
    common.OUT.print(table)
    common.OUT.print(
        f"By arithmetic, not measured: responses of {assumed.response_tokens:,.0f} tokens, prompts of "
        f"{assumed.prompt_tokens:,.0f}; GPUs of {assumed.peak_tflops:,.0f} TFLOP/s, of which training reaches "
        f"{assumed.training:.0%} and sampling {assumed.decoding:.0%}. With a gate, every question is taken to train on "
        "its rollouts."
    )


def _pilot(config: PipelineConfig, model: StageKey, questions: int) -> dict[str, UnitEstimate]:
    """Run the pilot on one model. The model is fetched if necessary, but a trained model must exist."""
    stage = evaluate.KIND.stage_of(model)
    run = plan_run(config, RunOptions(only=(str(stage),)))
    run.context.store.check_writable()
    artifacts, found = run.plan.artifacts, run.plan.artifacts.of(model)
    if config.inputs(model, MODEL) and (found is None or found.provisional):
        raise StoreError(f"{model} is not trained yet", f"run `hpt run` first, or estimate {config.root(model)}")
    for needed in run.graph[stage].after:
        if any(p.check.state != "done" for p in run.plan.of(needed)) or not run.plan.of(needed):
            artifacts = Artifacts({**artifacts, **run_stage(run.graph[needed], artifacts, run.context)})
    (step,) = (step for step in run.graph[stage].steps if isinstance(step, evaluate.SampleStep))
    return evaluate.pilot(step, artifacts, run.context, questions)


def _print(model: str, units: dict[str, UnitEstimate], total: Estimate, priced: bool) -> None:
    if not units:
        common.OUT.print(f"[bold]{model}[/]: all samples exist already")
        return
    columns = ("benchmark", "samples left", "tokens per sample", "tokens")
    table = Table(*columns, box=None, pad_edge=False, header_style="bold")
    for column in table.columns[1:]:
        column.justify = "right"
    for name, unit in units.items():
        margin = "" if unit.margin_tokens is None else f" ± {unit.margin_tokens:,.0f}"
        table.add_row(name, f"{unit.missing:,}", f"{unit.mean_tokens:,.0f}{margin}", f"{unit.tokens:,.0f}")
    common.OUT.print(f"[bold]{model}[/]")
    common.OUT.print(table)
    interval = "no interval from one question"
    if total.tokens_low is not None:
        interval = f"95 % interval {total.tokens_low:,} to {total.tokens_high:,}"
    cost = f", cost {total.cost:,.2f}" if priced else ""
    common.OUT.print(
        f"{total.tokens:,} tokens to generate ({interval}), {total.prompt_tokens:,} prompt tokens; "
        f"at most about {clock(total.seconds)} at the pilot's speed{cost}\n"
    )
