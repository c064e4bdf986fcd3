"""Commands that only show something: `hpt plan`, `hpt status`, `hpt list`, `hpt show` and `hpt prompt`.

`hpt prompt` needs a tokenizer and fetches its model if the store lacks it. The others change nothing.
"""

from collections import Counter
from typing import Annotated, Any

import typer
from pydantic import BaseModel
from rich.markup import escape
from rich.table import Table

from benchmarks.suite import get_suite
from flows import graph as graphs
from flows.commands import common
from flows.commands.common import ConfigFile, DataDir, Json, Set, StoreOption, Verify
from flows.display import clock
from flows.fields import Field, fields_of
from flows.run import RunOptions, context_of, plan_run, warn
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

STYLES = {
    "done": "green",
    "blocked": "red",
    "damaged": "red",
    "running": "cyan",
    "in part": "yellow",
    "started": "yellow",
}


@app.command()
def plan(
    config: ConfigFile,
    overrides: Set = None,
    store: StoreOption = None,
    data_dir: DataDir = None,
    verify: Verify = False,
    as_json: Json = False,
) -> None:
    """Show every stage with its fingerprint, its state and what it needs. Runs nothing."""
    resolved = common.read_config(config, overrides, store, data_dir)
    run = plan_run(resolved, RunOptions(verify=verify))
    found, warnings = run.plan, [notice.text for notice in warn(run)]
    if as_json:
        facts = {"pipeline": resolved.name, "store": resolved.store, "finished": found.finished, "warnings": warnings}
        common.print_json({**facts, "stages": _as_json(found)})
        return
    table = Table(box=None, pad_edge=False, header_style="bold")
    for column in ("stage", "fingerprint", "state"):
        table.add_column(column, no_wrap=True)
    table.add_column("needs")
    for key in found.graph:
        _rows(table, found, key)
    common.OUT.print(table)
    words = Counter(found.state(key) for key in found.graph)
    common.OUT.print(f"\nstore {resolved.store}: " + ", ".join(f"{count} {word}" for word, count in words.items()))
    if any(p.target.provisional for p in found.planned):
        common.OUT.print("~ marks a provisional fingerprint: it depends on an input that does not exist yet")


def _rows(table: Table, found: graphs.Plan, key: StageKey) -> None:
    state = found.state(key)
    planned = found.of(key)
    if state == "blocked":
        why = str(found.problems[key]) if key in found.problems else f"after {found.blocked[key]}"
        table.add_row(str(key), "", f"[red]{state}[/]", escape(why))
        return
    if len(planned) == 1:
        table.add_row(str(key), _short(planned[0]), _styled(state), escape(_needs(found, planned[0])))
        return
    table.add_row(str(key), "", _styled(state), escape(_waits(found, key)))
    for part in dict.fromkeys(p.target.key.part for p in planned):
        of_one = [p for p in planned if p.target.key.part == part]
        words = dict.fromkeys(p.check.state for p in of_one)
        table.add_row(
            f"  {part}",
            "\n".join(_short(p) for p in of_one),
            "\n".join(_styled(p.check.state) for p in of_one) if len(words) > 1 else _styled(next(iter(words))),
            "\n".join(escape(" ".join(t for t in (p.target.kind, p.check.text) if t)) for p in of_one),
        )


def _styled(word: str) -> str:
    return f"[{STYLES[word]}]{word}[/]" if word in STYLES else word


def _short(planned: graphs.Planned) -> str:
    return ("~" if planned.target.provisional else "") + planned.target.fingerprint[:12]


def _needs(found: graphs.Plan, planned: graphs.Planned) -> str:
    if planned.check.state == "done":
        return ""
    waits = _waits(found, planned.target.key.stage)
    return "; ".join(text for text in (planned.check.text, planned.needs, waits) if text)


def _waits(found: graphs.Plan, key: StageKey) -> str:
    waits = [need for need in dict.fromkeys(found.graph[key].after) if found.state(need) != "done"]
    if not waits or found.state(key) == "done":
        return ""
    by_kind: dict[str, list[StageKey]] = {}
    for need in waits:
        by_kind.setdefault(need.kind, []).append(need)
    shown = [
        f"{len(keys)} {kind} stages" if len(keys) > 3 else ", ".join(map(str, keys)) for kind, keys in by_kind.items()
    ]
    return f"after {', '.join(shown)}"


def _as_json(found: graphs.Plan) -> list[dict[str, Any]]:
    return [
        {
            "stage": str(key),
            "state": found.state(key),
            "after": [str(need) for need in found.graph[key].after],
            "problem": str(found.problems[key]) if key in found.problems else None,
            "artifacts": [
                {
                    "key": str(p.target.key),
                    "kind": p.target.kind,
                    "fingerprint": p.target.fingerprint,
                    "provisional": p.target.provisional,
                    "state": p.check.state,
                    "text": p.check.text,
                    "needs": p.needs,
                    "folder": str(found.artifacts[p.target.key].folder),
                }
                for p in found.of(key)
            ],
        }
        for key in found.graph
    ]


@app.command()
def status(
    config: ConfigFile,
    overrides: Set = None,
    store: StoreOption = None,
    data_dir: DataDir = None,
    as_json: Json = False,
) -> None:
    """Show the state of each artifact: when it was finished, how long it took, its size and rows."""
    resolved = common.read_config(config, overrides, store, data_dir)
    run = plan_run(resolved)
    rows = [_status_row(planned, run.context) for planned in run.plan.planned]
    if as_json:
        common.print_json(rows)
        return
    table = Table("artifact", "state", "ended", "took", "size", "rows", box=None, pad_edge=False, header_style="bold")
    for row in rows:
        ended = "" if row["end"] is None else f"{row['end']:%Y-%m-%d %H:%M}"
        table.add_row(
            row["key"],
            _styled(row["state"]),
            ended,
            row["took"],
            row["size"],
            "" if not row["rows"] else str(row["rows"]),
        )
    for key, error in run.plan.problems.items():
        table.add_row(str(key), _styled("blocked"), "", "", "", escape(str(error)))
    common.OUT.print(table)


def _status_row(planned: graphs.Planned, context: Context) -> dict[str, Any]:
    slot = context.store.slot(planned.target.kind, planned.target.fingerprint)
    manifest = slot.manifest()
    return {
        "key": str(planned.target.key),
        "state": planned.check.state,
        "text": planned.check.text,
        "end": manifest.end.astimezone() if manifest else None,
        "took": clock(manifest.cost.seconds) if manifest else "",
        "size": _bytes(manifest.size) if manifest else "",
        "rows": manifest.rows if manifest else 0,
        "folder": str(slot.folder),
        "log": str(slot.log) if slot.log.exists() else None,
        "facts": manifest.facts if manifest else {},
        "cost": manifest.cost.model_dump() if manifest else None,
    }


def _bytes(count: float) -> str:
    for unit in ("B", "kB", "MB", "GB"):
        if count < 1000:
            return f"{count:.0f} {unit}" if unit == "B" else f"{count:.1f} {unit}"
        count /= 1000
    return f"{count:.1f} TB"


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
        return list(fields_of(plugin)) if is_model else []
    if plugin.config is not None:
        return list(fields_of(plugin.config))
    return [field for field in fields_of(pipeline_type({plugin.name: {}})) if field.name == plugin.name]


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
    run = plan_run(config, RunOptions(goals=(str(root),)))
    run.context.store.check_writable()
    folder = run_stage(run.graph[root], Artifacts(), run.context)[root].path(MODEL)
    tokenizer = load_tokenizer(folder)
    ids = prompt.bind(tokenizer).encode(question, instruction)
    # Not the rendered text, which lacks a BOS that the tokenizer adds.
    text = tokenizer.decode(ids, skip_special_tokens=False, clean_up_tokenization_spaces=False)
    bos = tokenizer.bos_token if ids[0] == tokenizer.bos_token_id else None
    return {"text": text, "tokens": len(ids), "bos": bos}
