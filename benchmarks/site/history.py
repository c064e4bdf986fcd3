"""Data of the History page: the scores of each name over time, each tested against the one before."""

from collections.abc import Iterable, Sequence
from itertools import pairwise

import numpy as np

from benchmarks.catalog.paired import ALPHA
from benchmarks.catalog.schemas import Row
from benchmarks.catalog.tables import Tables
from benchmarks.significance import holm, sign_flip_exact
from benchmarks.site.facts import full_name, moment, rounded, short_id

COLUMNS = ("record", "run", "pipeline", "label", "model", "benchmark", "title", "protocol", "evaluation", "avg_at_k",
           "interval_low", "interval_high", "k", "end")  # fmt: skip
MOST = 100
"""Points of a line, the latest ones."""


def history_data(tables: Tables) -> Row:
    """The JSON of data/history.json: the lines with at least two points, those with a regression first.

    A line holds the scores of one name by one protocol, so the questions are the same. A point is tested against the
    one before if its model is another: the exact sign-flip test, Holm-corrected over all tests of the run.
    """
    lines: dict[tuple[str, ...], list[Row]] = {}
    places: dict[str, int] = {}
    for place, row in enumerate(tables.scores.select(COLUMNS).to_pylist()):  # the oldest come first
        places[row["record"]] = place
        name = full_name(row["pipeline"], row["label"])
        lines.setdefault((name, row["benchmark"], row["protocol"]), []).append(row)
    several = {key: rows[-MOST:] for key, rows in lines.items() if len(rows) > 1}
    correct = tables.scores.column("correct")

    def p_value(before: Row, row: Row) -> float:
        counts = [np.array(correct[places[each["record"]]].as_py()) for each in (row, before)]
        return sign_flip_exact(counts[0] - counts[1])

    tested = [(b, r) for rows in several.values() for b, r in _steps(rows)]
    adjusted = _by_run([(row["run"] or row["record"], p_value(before, row)) for before, row in tested])
    p_of = {row["record"]: p for (_, row), p in zip(tested, adjusted, strict=True)}
    found = [_line(name, rows, p_of) for (name, _, _), rows in several.items()]
    return {"lines": sorted(found, key=lambda line: (-_regressions(line), line["name"], line["title"]))}


def _steps(rows: Sequence[Row]) -> Iterable[tuple[Row, Row]]:
    return ((b, r) for b, r in pairwise(rows) if b["model"] != r["model"])


def _by_run(tests: Sequence[tuple[str, float]]) -> list[float]:
    """The p-values, Holm-corrected within each run."""
    members: dict[str, list[int]] = {}
    for place, (run, _) in enumerate(tests):
        members.setdefault(run, []).append(place)
    found = [0.0] * len(tests)
    for places in members.values():
        for place, p in zip(places, holm([tests[place][1] for place in places]), strict=True):
            found[place] = p
    return found


def _line(name: str, rows: Sequence[Row], p_of: dict[str, float]) -> Row:
    points: list[Row] = []
    before: float | None = None
    for row in rows:
        p = p_of.get(row["record"])
        change = None
        if before is not None and p is not None and p < ALPHA:
            change = "better" if row["avg_at_k"] > before else "worse"
        before = row["avg_at_k"]
        points.append(
            {
                "end": moment(row["end"]),
                "run": row["run"],
                "id": short_id(row["model"]),
                "value": rounded(row["avg_at_k"]),
                "low": rounded(row["interval_low"]),
                "high": rounded(row["interval_high"]),
                "p": p,
                "change": change,
            }
        )
    last = rows[-1]
    return {
        "name": name,
        "benchmark": last["benchmark"],
        "title": last["title"],
        "k": last["k"],
        "protocol": short_id(last["protocol"]),
        "points": points,
    }


def _regressions(line: Row) -> int:
    """Whether the latest point is a regression."""
    return int(line["points"][-1]["change"] == "worse")
