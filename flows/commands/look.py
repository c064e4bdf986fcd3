"""Commands that only show something: `hpt status`, `hpt list`, `hpt show` and `hpt prompt`.

`hpt prompt` needs a tokenizer and fetches its model if the store lacks it. The others change nothing.
"""

from typing import Annotated, Any, Literal

import typer
from pydantic import BaseModel
from rich.markup import escape
from rich.table import Table

from benchmarks.suite import get_suite
from flows import graph as graphs
from flows.commands import common
from flows.commands.common import ConfigFile, DataDir, Json, Set, StoreOption, Units
from flows.display import amount, clock, styled, summed
from flows.fields import Field, every_field
from flows.run import RunOptions, context_of, plan_run
from hpt_core.artifacts import Manifest
from hpt_core.errors import ConfigError, near
from hpt_core.model_folder import load_tokenizer
from hpt_core.plugins import KINDS, Kind, summary
from hpt_core.prompts.base import PromptConfig
from tasks import evaluate
from tasks.execution.artifact import Artifacts
from tasks.execution.config import PipelineConfig, pipeline_type
from tasks.execution.context import Context
from tasks.execution.keys import MODEL, StageKey
from tasks.execution.kind import StageKind
from tasks.execution.stage import run_stage

app = typer.Typer()


@app.command()
def status(
    config: ConfigFile,
    overrides: Set = None,
    store: StoreOption = None,
    data_dir: DataDir = None,
    units: Units = False,
    as_json: Json = False,
) -> None:
    """Show the state of each stage: when it was finished, how long it took, what it cost, its size and rows."""
    resolved = common.read_config(config, overrides, store, data_dir)
    run = plan_run(resolved)
    rows = [_status_row(planned, run.context) for planned in run.plan.planned]
    if as_json:
        common.print_json(rows)
        return
    manifests = {str(planned.target.key): _manifest(planned, run.context) for planned in run.plan.planned}
    lines = []
    for key in run.graph:
        planned = run.plan.of(key)
        several = [p for p in planned if len(planned) > 1]
        found = [m for p in planned if (m := manifests[str(p.target.key)])]
        if planned:
            lines.append(_status_line(str(key), run.plan.state(key), found, len(several)))
        for p in several if units else ():
            own = manifests[str(p.target.key)]
            name = "/".join(filter(None, p.target.key[1:]))
            lines.append(_status_line(f"  {name}", p.check.state, [own] if own else [], 0))
    # Two stages may share an artifact.
    if every := list({m.fingerprint: m for m in manifests.values() if m}.values()):
        lines.append(["total", "", "", *_spent(every), amount(sum(m.size for m in every)), ""])
    common.OUT.print(status_table(lines))
    for key, error in run.plan.problems.items():
        common.OUT.print(f"{escape(str(key))} {styled('blocked')}")
        common.print_note(str(error))


def status_table(lines: list[list[str]]) -> Table:
    """The table without columns that are empty, as the cost is without prices."""
    names = ("stage", "state", "ended", "took", "device\nhours", "cost", "size", "rows")
    shown = [place for place in range(len(names)) if any(line[place] for line in lines)]
    table = Table(box=None, pad_edge=False, padding=(0, 1, 0, 0), header_style="bold")
    for place in shown:
        justify: Literal["left", "right"] = "left" if place < 3 else "right"
        table.add_column(names[place], overflow="fold", no_wrap=place > 0, justify=justify)
    for line in lines:
        table.add_row(*(line[place] for place in shown))
    return table


def _status_line(name: str, state: str, found: list[Manifest], of: int) -> list[str]:
    """A line of the table: sums over the finished artifacts. `of` is the number of a stage with several."""
    if not found:
        return [name, styled(state), *[""] * 6]
    rows = sum(m.rows for m in found)
    return [
        f"{name} ({len(found)} of {of})" if of > len(found) else name,
        styled(state),
        f"{max(m.end for m in found).astimezone():%m-%d %H:%M}",
        *_spent(found),
        amount(sum(m.size for m in found)),
        str(rows or ""),
    ]


def _spent(found: list[Manifest]) -> list[str]:
    """Time, device-hours and cost of artifacts."""
    hours, money = summed(m.cost.device_hours for m in found), summed(m.cost.money for m in found)
    return [clock(sum(m.cost.seconds for m in found)), hours, money]


def _manifest(planned: graphs.Planned, context: Context) -> Manifest | None:
    return context.store.slot(planned.target.kind, planned.target.fingerprint).manifest()


def _status_row(planned: graphs.Planned, context: Context) -> dict[str, Any]:
    slot = context.store.slot(planned.target.kind, planned.target.fingerprint)
    manifest = slot.manifest()
    return {
        "key": str(planned.target.key),
        "state": planned.check.state,
        "text": planned.check.text,
        "end": manifest.end.astimezone() if manifest else None,
        "took": clock(manifest.cost.seconds) if manifest else "",
        "size": amount(manifest.size) if manifest else "",
        "rows": manifest.rows if manifest else 0,
        "folder": str(slot.folder),
        "log": str(slot.log) if slot.log.exists() else None,
        "facts": manifest.facts if manifest else {},
        "cost": manifest.cost.model_dump() if manifest else None,
    }


@app.command(name="list")
def list_(
    what: Annotated[str | None, typer.Argument(metavar="[KIND]", help="A kind of plug-in. Default: all.")] = None,
    as_json: Json = False,
) -> None:
    """List the plug-ins that a config can name: algorithms, estimator parts, gates, benchmarks, stages and more."""
    kinds = sorted(KINDS.values()) if what is None else [_kind(what)]
    if as_json:
        found = {kind.name: list(kind.names) for kind in kinds}
        common.print_json(found if what is None else found[what])
        return
    for kind in kinds:
        if what is None:
            common.OUT.print(f"[bold]{kind.name}[/]")
        for name in kind.names:
            common.OUT.print(f"{'' if what else '  '}{name}  {summary(kind.load(name))}", markup=False)


@app.command()
def show(
    what: Annotated[str, typer.Argument(metavar="KIND", help="A kind of plug-in: `hpt list` prints them.")],
    name: Annotated[str, typer.Argument(metavar="NAME", help="A plug-in of this kind, or an import path.")],
    as_json: Json = False,
) -> None:
    """Show a plug-in: its summary, and its fields with type, default (or an instance's value) and meaning."""
    plugin = _kind(what).load(name)
    fields = _fields(plugin)
    if as_json:
        shown = [field.as_json() for field in fields]
        common.print_json({"kind": what, "name": name, "summary": summary(plugin), "fields": shown})
        return
    common.OUT.print(f"[bold]{escape(name)}[/]  {escape(summary(plugin))}")
    if not fields:
        common.OUT.print("\nIt has no fields.")
    for field in fields:
        set_to = f"default {field.default}" if field.value is None else f"value {field.value}"
        common.OUT.print(f"\n[cyan]{field.name}[/]  {escape(field.takes)}  [dim]{escape(set_to)}[/]")
        common.OUT.print(f"  {escape(field.meaning)}", soft_wrap=False)


def _fields(plugin: Any) -> list[Field]:
    """A plug-in's fields. A kind of stage has those of its config, or else the field that it adds to a pipeline."""
    if not isinstance(plugin, StageKind):
        is_model = isinstance(plugin, BaseModel) or (isinstance(plugin, type) and issubclass(plugin, BaseModel))
        return list(every_field(plugin)) if is_model else []
    if plugin.config is not None:
        return list(every_field(plugin.config))
    fields = every_field(pipeline_type({plugin.name: {}}))
    return [field for field in fields if f"{field.name}.".startswith(f"{plugin.name}.")]


def _kind(name: str) -> Kind:
    if name not in KINDS:
        raise ConfigError(f"unknown kind of plug-in {name!r}", near(name, tuple(sorted(KINDS))))
    return KINDS[name]


@app.command()
def prompt(
    config: ConfigFile,
    benchmark: Annotated[str, typer.Option("--benchmark", help="Benchmark whose first question is shown.")],
    model: Annotated[
        str | None, typer.Option("--model", help="Model whose tokenizer is used: hpt, or its stage train.hpt.")
    ] = None,
    overrides: Set = None,
    store: StoreOption = None,
    data_dir: DataDir = None,
    as_json: Json = False,
) -> None:
    """Show a prompt exactly as the engine receives it in an evaluation. Fetches the base model if it is missing."""
    resolved = common.read_config(config, overrides, store, data_dir)
    suite = get_suite(benchmark)
    models = resolved.models()
    key = common.model_named(model, models) if model else models[0]
    question = suite.load(context_of(resolved).data_dir)[0].question
    evaluation = evaluate.KIND.of(resolved)
    found = None if evaluation is None else evaluate.measurement(resolved, evaluation, suite).settings
    used, instruction = (found.prompt, found.instruction) if found else (resolved.prompt, suite.instruction)
    shown = _render(resolved, key, used, question, instruction)
    if as_json:
        common.print_json({"benchmark": benchmark, "model": str(key), **shown})
        return
    common.OUT.print(shown["text"], markup=False)
    begins = "no BOS token" if shown["bos"] is None else f"begins with the BOS token {escape(shown['bos'])}"
    common.ERR.print(f"[dim]{shown['tokens']} tokens, {begins}, {key}, {benchmark}[/]")


def _render(
    config: PipelineConfig, key: StageKey, prompt: PromptConfig, question: str, instruction: str | None
) -> dict[str, Any]:
    """Text of the token ids, their number, and the BOS token or None. The root model's tokenizer is used, because
    training does not change the tokenizer."""
    root = config.root(key)
    run = plan_run(config, RunOptions(only=(str(root),)))
    run.context.store.check_writable()
    folder = run_stage(run.graph[root], Artifacts(), run.context)[root].path(MODEL)
    tokenizer = load_tokenizer(folder)
    ids = prompt.bind(tokenizer).encode(question, instruction)
    # Not the rendered text, which lacks a BOS that the tokenizer adds.
    text = tokenizer.decode(ids, skip_special_tokens=False, clean_up_tokenization_spaces=False)
    bos = tokenizer.bos_token if ids[0] == tokenizer.bos_token_id else None
    return {"text": text, "tokens": len(ids), "bos": bos}
