"""What a run's notifications say: what happened, how much, and where to look."""

import logging
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

from benchmarks.catalog.changes import Change, Changes
from benchmarks.catalog.tables import Tables
from flows.display import clock, summed
from hpt_core.artifacts import RunRecord, Store
from hpt_core.base import Frozen
from hpt_core.errors import explain
from hpt_core.redact import redact
from tasks.execution.artifact import Artifact
from tasks.execution.config import PipelineConfig
from tasks.execution.keys import StageKey
from tasks.execution.kind import StageKind
from tasks.notifiers.base import Event, What, tell

LOG = logging.getLogger("hpt.notify")
MOST = 12
"""Most models and most regressions that a notification lists."""


class Regression(Frozen):
    """A model that is worse than before on one benchmark. Scores are shares of 1."""

    model: str
    benchmark: str
    """What tables show: "AIME 2024"."""
    before: float
    after: float
    low: float
    """The 95 % interval of `after` minus `before`."""
    high: float
    p: float
    """Of the paired test, corrected for all that were tested together."""


def notify_end(config: PipelineConfig, record: RunRecord, store: Store) -> None:
    """Tell the config's notifiers how a run ended. A run that made nothing, or was ended by somebody, is not told."""
    made = any(stage.what == "made" for stage in record.stages.values())
    if not config.notify or record.outcome not in ("done", "failed") or (record.outcome == "done" and not made):
        return
    what: What = "failed" if record.outcome == "failed" else "finished"
    try:
        lines = tuple(_lines(config, record, store))
    except Exception as error:  # a damaged report must not end a run that is done
        LOG.warning("the notification does not say everything: %s", explain(error))
        lines = (*([record.error] if record.error else []), f"run {record.id} on {record.host}, store {store.address}")
    tell(config.notify, Event(what=what, subject=f"{record.pipeline}: {what}", lines=tuple(map(redact, lines))))


def notify_changes(config: PipelineConfig, record: RunRecord, store: Store, tables: Tables) -> None:
    """Tell the config's notifiers which models this run found to be worse than the ones before them."""
    if record.outcome not in ("done", "failed") or not any("regressed" in notifier.on for notifier in config.notify):
        return
    try:
        changes = Changes(tables)
        worse = [change for change in changes.tested(run=record.id) if change.verdict == "worse"]
        found = [_regression(changes, change, tables) for change in worse]
    except Exception as error:  # a damaged table must not end a run that is done
        LOG.warning("not looked for regressions: %s", explain(error))
        return
    notify_regressions(config, found, [f"run {record.id} on {record.host}, store {store.address}"])


def _regression(changes: Changes, change: Change, tables: Tables) -> Regression:
    difference, row = changes.difference(change), change.row
    return Regression(
        model=tables.labels.of(row["pipeline"], row["label"]),
        benchmark=row["title"],
        before=change.before["avg_at_k"],
        after=row["avg_at_k"],
        low=difference.low,
        high=difference.high,
        p=change.p,
    )


def notify_regressions(config: PipelineConfig, found: Iterable[Regression], where: Iterable[str] = ()) -> None:
    """Tell the config's notifiers which models got worse. `where` says where to look: a page, a store."""
    found = list(found)
    if not found:
        return
    lines = [
        f"{r.model} on {r.benchmark}: {100 * r.before:.1f} to {100 * r.after:.1f} "
        f"({100 * r.low:+.1f} to {100 * r.high:+.1f}, p {r.p:.2g})"
        for r in found[:MOST]
    ]
    more = [f"and {len(found) - MOST} more"] if len(found) > MOST else []
    count = f"{len(found)} scores" if len(found) > 1 else "1 score"
    subject = f"{config.name}: {count} got worse"
    tell(config.notify, Event(what="regressed", subject=subject, lines=tuple(map(redact, (*lines, *more, *where)))))


def _lines(config: PipelineConfig, record: RunRecord, store: Store) -> Iterator[str]:
    if record.error:
        yield record.error
    counts = Counter(stage.what for stage in record.stages.values())
    took = clock((record.end - record.start).total_seconds()) if record.end else "?"
    yield f"{', '.join(f'{count} {what}' for what, count in counts.items())}; {took}{_cost(record, store)}"
    if config.overrides:
        yield f"with {', '.join(config.overrides)}"
    done = {key for key, stage in record.stages.items() if stage.what in ("made", "reused")}
    for name, place in record.artifacts.items():
        stage, slot = name.partition("/")[0], store.slot(*place.split("/"))
        kind = config.kind_of(StageKey.parse(stage))
        shows = type(kind).show is not StageKind.show  # a manifest may have to be fetched
        if shows and stage in done and (manifest := slot.manifest()):
            shown = kind.show(Artifact.stored(name, slot, manifest))
            if shown and shown.report:
                yield from _scores(shown.report / "tables" / "scores.parquet")
            if shown:
                yield shown.line
    yield f"run {record.id} on {record.host}, store {store.address}"
    if record.flow_run:
        yield f"Prefect run {record.flow_run}"


def _cost(record: RunRecord, store: Store) -> str:
    """Device-hours and money of what the run made, as far as they are known."""
    made = [place for key, place in record.artifacts.items() if _was_made(record, key)]
    costs = [m.cost for place in made if (m := store.slot(*place.split("/")).manifest()) and m.start >= record.start]
    hours, money = summed(cost.device_hours for cost in costs), summed(cost.money for cost in costs)
    return f"; {hours} device-hours" * bool(hours) + f"; costs {money}" * bool(money)


def _was_made(record: RunRecord, artifact: str) -> bool:
    stage = record.stages.get(artifact.partition("/")[0])
    return stage is not None and stage.what == "made"


def _scores(file: Path) -> Iterator[str]:
    """A line for each measured model: its averages, or its scores if there are none."""
    rows: list[dict[str, Any]] = [r for r in pq.read_table(file).to_pylist() if r["source"] == "measured"]
    rows = [r for r in rows if r["kind"] == "average"] or rows
    models = list(dict.fromkeys(r["label"] for r in sorted(rows, key=lambda r: int(r["row"]))))
    for label in models[:MOST]:
        own = sorted((r for r in rows if r["label"] == label and r["avg_at_k"] is not None), key=lambda r: r["column"])
        scores = [f"{r['title']} {100 * r['avg_at_k']:.1f}" for r in own]
        yield f"{label}: {', '.join(scores)}"
    if len(models) > MOST:
        yield f"and {len(models) - MOST} more models"
