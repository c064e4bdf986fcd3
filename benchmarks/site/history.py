"""Data of the History page: the scores of each name over time, each tested against the one before."""

from collections.abc import Mapping, Sequence

from benchmarks.catalog.changes import Change, Changes, Line
from benchmarks.catalog.labels import Labels
from benchmarks.catalog.schemas import Row
from benchmarks.catalog.tables import Tables
from benchmarks.site.facts import moment, rounded, short_id

MOST = 100
"""Points of a line, the latest ones."""


def history_data(tables: Tables) -> Row:
    """The JSON of data/history.json: the lines with at least two points, those with a regression first.

    A line holds the scores of one name by one protocol, so the questions are the same. A point is tested against the
    one before if its model is another (benchmarks.catalog.changes). The points of a line of checkpoints have a step.
    """
    found = Changes(tables)
    changes = {change.row["record"]: change for change in found.tested(MOST)}
    lines = [_line(line, rows[-MOST:], changes, tables.labels) for line, rows in found.lines.items() if len(rows) > 1]
    for line, by_step in found.checkpoints.items():
        if len(by_step) > 1:
            steps = sorted(by_step)[-MOST:]
            drawn = _line(line, [by_step[step] for step in steps], {}, tables.labels)
            drawn["points"] = [{"step": step, **point} for step, point in zip(steps, drawn["points"], strict=True)]
            lines.append(drawn)
    return {"lines": sorted(lines, key=lambda line: (-_regressions(line), line["name"], line["title"]))}


def _line(line: Line, rows: Sequence[Row], changes: Mapping[str, Change], labels: Labels) -> Row:
    points: list[Row] = []
    for row in rows:
        change = changes.get(row["record"])
        points.append(
            {
                "end": moment(row["end"]),
                "run": row["run"],
                "id": short_id(row["model"]),
                "value": rounded(row["avg_at_k"]),
                "low": rounded(row["interval_low"]),
                "high": rounded(row["interval_high"]),
                "p": change and change.p,
                "change": change and change.verdict,
            }
        )
    last = rows[-1]
    return {
        "name": labels.full(*line[:2]),
        "benchmark": last["benchmark"],
        "title": last["title"],
        "k": last["k"],
        "protocol": short_id(last["protocol"]),
        "points": points,
    }


def _regressions(line: Row) -> int:
    """Whether the latest point is a regression."""
    return int(line["points"][-1]["change"] == "worse")
