"""`hpt plan`, `hpt status`, `hpt list`, `hpt prompt`: the commands that show something.

The first three change nothing; `hpt prompt` makes the model whose tokenizer it needs where the store lacks it.
"""

import re
from collections import Counter
from typing import Annotated, Any

import typer
from rich.markup import escape
from rich.table import Table

from flows import graph as graphs
from flows.commands import common
from flows.commands.common import ConfigFile, DataDir, Json, Set, StoreOption, Verify
from flows.config import PipelineConfig
from flows.context import context_of
from hpt_core.errors import ConfigError
from hpt_core.plugins import names, near

app = typer.Typer()

PLUGINS = {
    "algorithms": "hpt_core.algorithms",
    "benchmarks": "benchmarks.suites",
    "engines": "hpt_core.rollout",
    "sources": "hpt_core.data.sources",
    "models": "hpt_core.models",
    "publishers": "benchmarks.publishers",
    "trackers": "hpt_core.trackers",
}
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
    """Show the stages, their fingerprints, what is done already and what each needs. Starts nothing."""
    resolved = common.read_config(config, overrides, store, data_dir)
    found = graphs.plan(graphs.build(resolved), context_of(resolved, verify=verify))
    if as_json:
        common.print_json(
            {"pipeline": resolved.name, "store": resolved.store, "finished": found.finished, "stages": _as_json(found)}
        )
        return
    table = Table(box=None, pad_edge=False, header_style="bold")
    for column in ("stage", "fingerprint", "state"):
        table.add_column(column, no_wrap=True)
    table.add_column("needs")
    for key in found.graph:
        _rows(table, found, key)
    common.OUT.print(table)
    words = Counter(found.standing(key) for key in found.graph)
    common.OUT.print(f"\nstore {resolved.store}: " + ", ".join(f"{count} {word}" for word, count in words.items()))
    if any(u.unit.provisional for u in found.units):
        common.OUT.print("~ is provisional: it depends on the content of an input that is not there yet")


def _rows(table: Table, found: graphs.Plan, key: str) -> None:
    state = found.standing(key)
    units = found.of(key)
    if key in found.problems or key in found.after:
        why = str(found.problems[key]) if key in found.problems else f"after {found.after[key]}"
        table.add_row(key, "", f"[red]{state}[/]", escape(why))
        return
    if len(units) == 1:
        (unit,) = units
        table.add_row(key, _short(unit), _styled(state), escape(_needs(found, unit)))
        return
    table.add_row(key, "", _styled(state), escape(_waits(found, key)))
    for name in dict.fromkeys(u.unit.key.rsplit("/", 1)[-1] for u in units):
        of_one = [u for u in units if u.unit.key.endswith(f"/{name}")]
        words = dict.fromkeys(u.check.standing for u in of_one)
        table.add_row(
            f"  {name}",
            "\n".join(_short(u) for u in of_one),
            "\n".join(_styled(u.check.standing) for u in of_one) if len(words) > 1 else _styled(next(iter(words))),
            "\n".join(escape(" ".join(t for t in (u.unit.kind, u.check.text) if t)) for u in of_one),
        )


def _styled(word: str) -> str:
    return f"[{STYLES[word]}]{word}[/]" if word in STYLES else word


def _short(unit: graphs.PlannedUnit) -> str:
    return ("~" if unit.unit.provisional else "") + unit.unit.fingerprint[:12]


def _needs(found: graphs.Plan, unit: graphs.PlannedUnit) -> str:
    if unit.check.standing == "done":
        return ""
    return "; ".join(text for text in (unit.check.text, unit.needs, _waits(found, unit.stage)) if text)


def _waits(found: graphs.Plan, key: str) -> str:
    waits = [need for need in dict.fromkeys(found.graph[key].after) if found.standing(need) != "done"]
    if not waits or found.standing(key) == "done":
        return ""
    benchmarks = [need for need in waits if need.startswith("benchmark.")]
    if len(benchmarks) > 1:
        waits = [*(need for need in waits if need not in benchmarks), f"{len(benchmarks)} benchmarks"]
    return f"after {', '.join(waits)}"


def _as_json(found: graphs.Plan) -> list[dict[str, Any]]:
    return [
        {
            "stage": key,
            "state": found.standing(key),
            "after": list(found.graph[key].after),
            "problem": str(found.problems[key]) if key in found.problems else None,
            "outputs": [
                {
                    "key": u.unit.key,
                    "kind": u.unit.kind,
                    "fingerprint": u.unit.fingerprint,
                    "provisional": u.unit.provisional,
                    "state": u.check.standing,
                    "text": u.check.text,
                    "needs": u.needs,
                    "folder": found.made[u.unit.key].folder,
                }
                for u in found.of(key)
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
    """Show when each output was made, what it took and where it lies."""
    resolved = common.read_config(config, overrides, store, data_dir)
    context = context_of(resolved)
    found = graphs.plan(graphs.build(resolved), context)
    rows = [_status_row(found, u, context) for u in found.units]
    if as_json:
        common.print_json(rows)
        return
    table = Table("output", "state", "ended", "took", "size", "rows", box=None, pad_edge=False, header_style="bold")
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
    for key, error in found.problems.items():
        table.add_row(key, _styled("blocked"), "", "", "", escape(str(error)))
    common.OUT.print(table)


def _status_row(found: graphs.Plan, unit: graphs.PlannedUnit, context: Any) -> dict[str, Any]:
    from flows.display import clock

    slot = context.store.slot(unit.unit.kind, unit.unit.fingerprint)
    manifest = slot.manifest()
    return {
        "key": unit.unit.key,
        "state": unit.check.standing,
        "text": unit.check.text,
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
    what: Annotated[str | None, typer.Argument(help=f"One of {', '.join(PLUGINS)}; all where not given.")] = None,
    as_json: Json = False,
) -> None:
    """List what a config can name: algorithms, benchmarks, engines, sources, models, publishers, trackers."""
    if what is not None and what not in PLUGINS:
        raise ConfigError(f"there is no list of {what!r}", near(what, tuple(PLUGINS)))
    found = {kind: list(names(package)) for kind, package in PLUGINS.items() if what in (None, kind)}
    if as_json:
        common.print_json(found if what is None else found[what])
        return
    for kind, variants in found.items():
        if what is None:
            common.OUT.print(f"[bold]{kind}[/]")
        for name in variants:
            common.OUT.print(f"{'' if what else '  '}{name}{_first_line(PLUGINS[kind], name)}", markup=False)


def _first_line(package: str, name: str) -> str:
    import importlib

    text = (importlib.import_module(f"{package}.{name}").__doc__ or "").strip()
    # A full stop ends a sentence only after a word: not in "Dr. GRPO".
    sentence = re.split(r"(?<=[a-z0-9)]{3}\.) ", text.split("\n\n")[0].replace("\n", " "))[0]
    return f"  {sentence.removesuffix('.')}" if sentence else ""


@app.command()
def prompt(
    config: ConfigFile,
    benchmark: Annotated[str, typer.Option("--benchmark", help="Benchmark whose first question is shown.")],
    model: Annotated[
        str | None, typer.Option("--model", help="model.NAME or train.NAME whose tokenizer is used.")
    ] = None,
    overrides: Set = None,
    store: StoreOption = None,
    data_dir: DataDir = None,
    as_json: Json = False,
) -> None:
    """Show the final text of a prompt, as the engine gets it; the model is made where the store lacks it."""
    from benchmarks.suite import get_suite

    resolved = common.read_config(config, overrides, store, data_dir)
    suite = get_suite(benchmark)
    known = tuple(f"model.{name}" for name in resolved.model) + tuple(f"train.{name}" for name in resolved.train)
    key = model or known[0]
    if key not in known:
        raise ConfigError(f"there is no model {key!r}", near(key, known))
    text, tokens = _render(resolved, key, suite.load(context_of(resolved).data_dir)[0].question, suite.instruction)
    if as_json:
        common.print_json({"benchmark": benchmark, "model": key, "text": text, "tokens": tokens})
        return
    common.OUT.print(text, markup=False)
    common.ERR.print(f"[dim]{tokens} tokens, {key}, {benchmark}[/]")


def _render(config: PipelineConfig, key: str, question: str, instruction: str | None) -> tuple[str, int]:
    """Text and token count. Training keeps the tokenizer: that of the model that `key` was made of serves."""
    from hpt_core.model_folder import load_tokenizer
    from tasks.stage import run_stage

    context = context_of(config)
    root = config.root(key)
    stage = graphs.select(config, [root])[root]
    context.store.check_writable()
    folder = run_stage(stage, {}, context)[root].output / "model"
    bound = config.prompt.bind(load_tokenizer(folder))
    return bound.render(question, instruction), len(bound.encode(question, instruction))
