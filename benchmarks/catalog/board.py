"""The board of a store: the latest scores of each model, from the catalog's tables.

Only equal things are compared. A section holds what was measured by one evaluation's settings. In a column, the numbers
of one protocol are compared: that of most whole measurements. A protocol includes the questions that were asked, so a
limited measurement is never ranked or averaged among whole ones. A group's average exists for models with every
benchmark of the group by the column's protocol.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

import numpy as np

from benchmarks.catalog.labels import Key, Labels
from benchmarks.catalog.overlaps import Overlaps
from benchmarks.catalog.paired import BenchmarkCounts, not_distinguishable
from benchmarks.catalog.schemas import TRIAL, Row
from benchmarks.catalog.tables import Tables
from benchmarks.suite import GROUPS, get_suite
from hpt_core.errors import ConfigError
from hpt_core.evaluation.metrics import ScoreInterval, combined

DETAILS = ("record", "run", "pipeline", "model", "label", "benchmark", "title", "group", "protocol", "evaluation")
COLUMNS = (
    *(*DETAILS, "suites", "rows", "questions", "complete", "k", "avg_at_k", "interval_low", "interval_high"),
    *("truncated_share", "end", "latest"),
)
"""Columns of SCORES that the board reads row by row."""


@dataclass(frozen=True)
class Cell:
    """One number. Fractions of 1."""

    value: float
    low: float
    """Lower end of the 95 % interval."""
    high: float
    best: bool
    """Whether it is the column's highest, or not distinguishable from that by a paired test."""
    truncated: float
    """Share of samples cut at their limit; for an average, the largest of its benchmarks."""
    partial: tuple[int, int] | None
    """(questions asked, questions of the benchmark), if not all were asked."""
    differs: bool
    """Whether its protocol is not the column's."""
    overlap: float | None
    """Share of the questions that overlap the model's training data; for an average, the largest of its benchmarks.
    None if that is not known."""


@dataclass(frozen=True)
class Column:
    """A benchmark, or a group's average."""

    title: str
    benchmark: str
    """Name of the benchmark; "" for an average."""
    group: str | None
    """The group to whose average it belongs."""
    k: int | None
    """Samples per question in the column's protocol; None for an average."""


@dataclass(frozen=True)
class Line:
    """One model."""

    pipeline: str | None
    name: str
    """Of the stage that made it."""
    label: str
    """What people call it."""
    model: str
    """Content hash."""
    end: datetime
    """When its last verdicts were finished."""
    cells: tuple[Cell | None, ...]
    """One per column. None if it was not measured, or if the average does not exist."""


@dataclass(frozen=True)
class Section:
    """The models that were measured by the settings of one evaluation."""

    evaluation: str
    protocol: Row
    """The latest row of PROTOCOLS of its scores."""
    pipelines: tuple[str, ...]
    columns: tuple[Column, ...]
    lines: tuple[Line, ...]
    """By the first column that most have, the best first."""
    end: datetime

    @property
    def is_whole(self) -> bool:
        """Whether it holds a whole measurement that is no trial's."""
        return any(
            cell is not None and cell.partial is None and TRIAL not in (line.pipeline or "")
            for line in self.lines
            for cell in line.cells
        )


@dataclass(frozen=True)
class Failure:
    """A stage that the last run with it did not finish."""

    pipeline: str
    run: str
    stage: str
    state: str
    """ "failed", "skipped" or "started"."""
    text: str
    """Why."""


@dataclass(frozen=True)
class Board:
    """The board of a store."""

    sections: tuple[Section, ...]
    """The latest first; those with nothing but trials and partial measurements last."""
    failures: tuple[Failure, ...]


def make_board(tables: Tables, pipeline: str | None = None) -> Board:
    """The board; with `pipeline`, only the models that it measured."""
    scores = tables.scores.select(COLUMNS).to_pylist()
    answers = tables.scores.column("correct").combine_chunks()
    starts = np.asarray(answers.offsets)
    values = np.asarray(answers.values)
    for place, row in enumerate(scores):
        row["correct"] = values[starts[place] : starts[place + 1]]
    protocols = {row["protocol"]: row for row in tables.protocols.to_pylist()}
    overlaps = Overlaps(tables)
    for row in scores:
        found = overlaps.of(row["model"], protocols[row["protocol"]]["benchmark_hash"]) if row["latest"] else None
        row["overlap"] = None if found is None else found / row["questions"]
    by_evaluation: dict[str, list[Row]] = {}
    for row in scores:
        if row["latest"] and pipeline in (None, row["pipeline"]):
            by_evaluation.setdefault(row["evaluation"], []).append(row)
    sections = [_section(rows, protocols, tables.labels) for rows in by_evaluation.values()]
    sections.sort(key=lambda section: (section.is_whole, section.end), reverse=True)
    return Board(tuple(sections), tuple(_failures(tables, pipeline)))


def _section(rows: Sequence[Row], protocols: Mapping[str, Row], labels: Labels) -> Section:
    newest = max(rows, key=lambda row: (row["end"], row["record"]))
    groups = {row["benchmark"]: row["group"] for row in rows}
    names = list(dict.fromkeys([*newest["suites"], *sorted(groups)]))
    for name in names:
        groups.setdefault(name, _group(name))
    models = _models(rows)
    # A benchmark that the latest evaluation does not have is shown, but belongs to no average.
    members = {g: [n for n in newest["suites"] if groups[n] == g] for g in (*GROUPS, None)}
    extra = [name for name in names if name not in newest["suites"]]
    shared = {name: _shared_protocol(name, models) for name in names}
    columns: list[Column] = []
    cells: list[list[Cell | None]] = []
    # The averages come first: they are what a narrow screen shows beside the names.
    for group, benchmarks in members.items():
        if group is not None and len(benchmarks) > 1:
            columns.append(Column(f"average {group}", "", group, None))
            cells.append(_averages(benchmarks, shared, models))
    for group, benchmarks in [*members.items(), (None, extra)]:
        for name in benchmarks:
            columns.append(_column(name, group, shared[name], rows, protocols))
            cells.append(_cells(name, shared[name], models))
    lines = [_line(found, tuple(column[place] for column in cells), labels) for place, found in enumerate(models)]
    ordered = tuple(sorted(lines, key=_rank))
    pipelines = tuple(sorted({line.pipeline for line in lines if line.pipeline}))
    return Section(
        newest["evaluation"], protocols[newest["protocol"]], pipelines, tuple(columns), ordered, newest["end"]
    )


def _line(found: Mapping[str, Row], cells: tuple[Cell | None, ...], labels: Labels) -> Line:
    row = next(iter(found.values()))
    end = max(row["end"] for row in found.values())
    return Line(*_name(row), labels.of(*_name(row)), row["model"], end, cells)


def _name(row: Row) -> Key:
    return row["pipeline"], row["label"]


def _models(rows: Sequence[Row]) -> list[dict[str, Row]]:
    """Benchmark -> score, of the latest model of each pipeline and name. An earlier model of that name is history: its
    scores are not mixed with those of the latest."""
    newest: dict[Key, Row] = {}
    for row in rows:
        name = _name(row)
        if name not in newest or (row["end"], row["record"]) > (newest[name]["end"], newest[name]["record"]):
            newest[name] = row
    found: dict[Key, dict[str, Row]] = {name: {} for name in newest}
    for row in rows:
        name = _name(row)
        before = found[name].get(row["benchmark"])
        if row["model"] == newest[name]["model"] and (before is None or row["end"] > before["end"]):
            found[name][row["benchmark"]] = row
    return list(found.values())


def _shared_protocol(benchmark: str, models: Sequence[Mapping[str, Row]]) -> str | None:
    """The protocol of a column: whole ones first, then that of most scores, and of those the latest."""
    own = sorted((found[benchmark] for found in models if benchmark in found), key=lambda row: row["end"])
    counts = Counter(row["protocol"] for row in own)
    ranks = {row["protocol"]: (row["complete"], counts[row["protocol"]], row["end"]) for row in own}
    return max(ranks, key=lambda protocol: ranks[protocol], default=None)


def _is_equal(row: Row | None, protocol: str | None) -> bool:
    """Whether a score may be ranked and averaged with the others of its column."""
    return row is not None and row["protocol"] == protocol


def _cells(benchmark: str, protocol: str | None, models: Sequence[Mapping[str, Row]]) -> list[Cell | None]:
    own = [found.get(benchmark) for found in models]
    ranked = [row is not None and _is_equal(row, protocol) and not row["overlap"] for row in own]
    best = _best([[row] if row is not None and fits else None for row, fits in zip(own, ranked, strict=True)])
    return [
        None
        if row is None
        else Cell(
            value=row["avg_at_k"],
            low=row["interval_low"],
            high=row["interval_high"],
            best=place in best,
            truncated=row["truncated_share"],
            partial=_partial([row]),
            differs=row["protocol"] != protocol,
            overlap=row["overlap"],
        )
        for place, row in enumerate(own)
    ]


def _averages(
    benchmarks: Sequence[str], shared: Mapping[str, str | None], models: Sequence[Mapping[str, Row]]
) -> list[Cell | None]:
    own = [
        [found[name] for name in benchmarks] if all(_is_equal(found.get(name), shared[name]) for name in benchmarks)
        else None
        for found in models
    ]  # fmt: skip
    best = _best([None if rows is None or any(row["overlap"] for row in rows) else rows for rows in own])
    cells: list[Cell | None] = []
    for place, rows in enumerate(own):
        if rows is None:
            cells.append(None)
            continue
        mean, low, high = combined(
            [ScoreInterval(row["avg_at_k"], row["interval_low"], row["interval_high"]) for row in rows]
        )
        truncated = max(row["truncated_share"] for row in rows)
        shares = [row["overlap"] for row in rows if row["overlap"] is not None]
        overlap = max(shares) if len(shares) == len(rows) else max(shares, default=0.0) or None
        cells.append(Cell(mean, low, high, place in best, truncated, _partial(rows), differs=False, overlap=overlap))
    return cells


def _partial(rows: Sequence[Row]) -> tuple[int, int] | None:
    """(questions asked, all questions), if not all were asked."""
    if all(row["complete"] for row in rows):
        return None
    return sum(row["questions"] for row in rows), sum(row["rows"] for row in rows)


def _best(own: Sequence[Sequence[Row] | None]) -> set[int]:
    """Places of the models that share the mark; none with fewer than two, or if nothing was solved."""
    places = [place for place, rows in enumerate(own) if rows is not None]
    measured = [rows for rows in own if rows is not None]
    means = [sum(row["avg_at_k"] for row in rows) / len(rows) for rows in measured]
    if len(measured) < 2 or max(means) == 0:
        return set()
    members = [
        BenchmarkCounts(np.stack([row["correct"] for row in rows]).astype(np.int64), rows[0]["k"])
        for rows in zip(*measured, strict=True)
    ]
    found = not_distinguishable(members, int(np.argmax(means)))
    return {place for place, same in zip(places, found, strict=True) if same}


def _column(
    name: str, group: str | None, protocol: str | None, rows: Sequence[Row], protocols: Mapping[str, Row]
) -> Column:
    title = next((row["title"] for row in rows if row["benchmark"] == name), name)
    return Column(title, name, group, None if protocol is None else protocols[protocol]["k"])


def _group(benchmark: str) -> str | None:
    """The group of a benchmark that no model of the section has a score on."""
    try:
        return get_suite(benchmark).group
    except ConfigError:
        return None


def _rank(line: Line) -> tuple[object, ...]:
    """Orders lines by the number of columns they have, then by the first that may be ranked, then by name."""
    ranked = [cell for cell in line.cells if cell and not cell.differs]
    whole = sum(cell is not None for cell in line.cells)
    return (-whole, -ranked[0].value if ranked else 0.0, line.label, line.pipeline or "")


def _failures(tables: Tables, pipeline: str | None) -> list[Failure]:
    """The stages that were not finished when a run of their pipeline came to them last."""
    last: dict[tuple[str, str], Failure | None] = {}
    for row in tables.runs.select(["run", "pipeline", "outcome", "stages"]).to_pylist():  # the oldest come first
        if TRIAL in row["pipeline"] or pipeline not in (None, row["pipeline"]):
            continue  # nobody repeats a trial to clear it from the board
        for stage in row["stages"]:
            state = stage["state"]
            ended = state in ("failed", "skipped") or (state == "started" and row["outcome"] != "running")
            text = (stage["text"] or "").removeprefix(f"{stage['stage']}: ")
            failure = Failure(row["pipeline"], row["run"], stage["stage"], state, text)
            last[row["pipeline"], stage["stage"]] = failure if ended else None
    return [failure for failure in last.values() if failure is not None]
