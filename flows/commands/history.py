"""`hpt runs` and `hpt logs`: what has run on a store, and what its stages write."""

import time
from collections import Counter
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Annotated

import typer
from rich.markup import escape

from flows.commands import common
from flows.commands.common import Json, Where
from flows.display import clock, styled
from flows.outputs import open_store
from hpt_core.artifacts import RunRecord, Store
from hpt_core.errors import StoreError, near
from tasks.execution.differences import fields

app = typer.Typer()
POLL_S = 0.5


@app.command()
def runs(
    run: Annotated[
        str | None, typer.Argument(metavar="[RUN]", help="One run, in full: its id, or how it ends.")
    ] = None,
    where: Where = None,
    pipeline: Annotated[str | None, typer.Option("--pipeline", help="Only the runs of this pipeline.")] = None,
    limit: Annotated[int, typer.Option("--limit", min=1, help="Most runs to show, the latest ones.")] = 20,
    as_json: Json = False,
) -> None:
    """List the runs on a store: when they ran, how they ended, and what changed in the config from one to the next."""
    store = open_store(where)
    every = [r for r in store.history.runs() if pipeline in (None, r.pipeline)]
    if run is not None:
        _show_one(one_run(every, run), as_json)
        return
    if as_json:
        common.print_json([record.model_dump(mode="json") for record in every[-limit:]])
        return
    if not every:
        common.ERR.print(
            f"[dim]no run{f' of {pipeline}' if pipeline else ''} is recorded in {escape(store.address)}[/]"
        )
    before: dict[str, RunRecord] = {}
    lines = []
    for record in every:
        lines.append((record, _notes(record, before.get(record.pipeline))))
        before[record.pipeline] = record
    width = max((len(record.id) for record in every), default=0)
    for record, notes in lines[-limit:]:
        took = clock(_seconds(record))
        counts = Counter(stage.what for stage in record.stages.values())
        stages = ", ".join(f"{count} {what}" for what, count in counts.items())
        state = styled(record.outcome) + " " * (11 - len(record.outcome))
        common.OUT.print(f"{record.id.ljust(width)}  {state}  {took:>8}  {stages}".rstrip())
        for note in notes:
            common.print_note(note)


def _notes(record: RunRecord, before: RunRecord | None) -> Iterator[str]:
    """What was asked of the run, how its config differs from that of the pipeline's run before, and its error."""
    if record.options:
        yield ", ".join(f"{name} = {_plain(value)}" for name, value in record.options.items())
    if before is not None and (found := list(fields(before.config, record.config))):
        more = f" and {len(found) - 4} more" if len(found) > 4 else ""
        yield "config: " + ", ".join(d.line for d in found[:4]) + more
    if record.outcome in ("died", "interrupted"):
        began = [key for key, stage in record.stages.items() if stage.what == "started"]
        yield f"while it ran {', '.join(began)}" if began else "between two stages"
    if record.error:
        yield record.error


def _plain(value: object) -> str:
    return " ".join(map(str, value)) if isinstance(value, list) else str(value)


def _seconds(record: RunRecord) -> float | None:
    """How long the run took, or has taken so far; None for a run that died."""
    if record.outcome == "died":
        return None
    end = record.end or datetime.now(record.start.tzinfo)
    return (end - record.start).total_seconds()


def _show_one(record: RunRecord, as_json: bool) -> None:
    if as_json:
        common.print_json(record.model_dump(mode="json"))
        return
    start = f"{record.start.astimezone():%Y-%m-%d %H:%M:%S}"
    common.OUT.print(f"[bold]{record.id}[/]  {styled(record.outcome)}")
    common.OUT.print(
        f"{start}, {clock(_seconds(record)) or 'it ended without a word'}, process {record.pid} on {record.host}"
    )
    for note in _notes(record, None):
        common.OUT.print(note, markup=False)
    for key, stage in record.stages.items():
        took = "" if stage.what == "started" else f" in {clock(stage.seconds)}"
        common.OUT.print(f"  {key}: {stage.what}{took}{'; ' * bool(stage.text)}{escape(stage.text)}")
    common.OUT.print("artifacts:")
    for key, place in record.artifacts.items():
        common.OUT.print(f"  {key}: {place}", markup=False)
    common.OUT.print("The config: hpt runs RUN --json")


def one_run(every: list[RunRecord], text: str) -> RunRecord:
    """The run whose id is `text` or ends with it; the latest of several. Raises StoreError."""
    found = [record for record in every if record.id == text or record.id.endswith(f"-{text}")]
    if not found:
        raise StoreError(
            f"there is no run {text!r}", near(text, tuple(r.id for r in every)) if every else "run one first"
        )
    return found[-1]


@app.command()
def logs(
    stage: Annotated[str, typer.Argument(metavar="STAGE", help="train.hpt, or an artifact: evaluate.hpt/verdicts.")],
    where: Where = None,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Print new lines until the run ends.")] = False,
    lines: Annotated[int, typer.Option("--lines", "-n", min=1, help="Last lines to print.")] = 200,
) -> None:
    """Print the log of a stage: of its latest run, also while it runs."""
    store = open_store(where)
    record, file = _log(store, stage)
    others = {run.id for run in store.history.runs() if run.id != record.id}
    common.ERR.print(f"[dim]{record.id} ({record.outcome}): {file}[/]")
    with file.open(encoding="utf-8", errors="replace") as handle:
        for line in handle.readlines()[-lines:]:
            common.OUT.out(line, end="", highlight=False)
        while follow:
            alive = any(run.outcome == "running" for run in store.history.runs(but=others))
            for line in handle:
                common.OUT.out(line, end="", highlight=False)
            if not alive:
                return
            time.sleep(POLL_S)


def _log(store: Store, stage: str) -> tuple[RunRecord, Path]:
    """The latest run that has a log of this stage, and the log that it wrote last. Raises StoreError."""
    known: dict[str, None] = {}
    for record in reversed(store.history.runs()):
        files = []
        for key, place in record.artifacts.items():
            parts = key.split("/")
            if parts[0] == stage or key == stage or "/".join(parts[:2]) == stage:
                slot = store.slot(*place.split("/"))
                slot.fetch_log()
                files.append(slot.log)
            known |= dict.fromkeys([parts[0]])
        if found := [file for file in files if file.is_file()]:
            return record, max(found, key=lambda file: file.stat().st_mtime_ns)
    raise StoreError(
        f"no run has written a log of {stage!r}", near(stage, tuple(known)) if known else "run the pipeline first"
    )
