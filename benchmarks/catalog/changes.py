"""What became better or worse: each score of a name tested against the one before it by the same protocol."""

from collections.abc import Iterable, Sequence
from itertools import pairwise
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from benchmarks.catalog.paired import ALPHA
from benchmarks.catalog.schemas import Row
from benchmarks.catalog.tables import Tables
from benchmarks.significance import Difference, compare, holm, sign_flip_exact

COLUMNS = ("record", "run", "pipeline", "label", "model", "benchmark", "title", "protocol", "evaluation", "avg_at_k",
           "interval_low", "interval_high", "k", "end")  # fmt: skip
Line = tuple[str | None, str, str, str]
"""Pipeline, name, benchmark and protocol of scores that follow each other. Their questions are the same."""


class Change(NamedTuple):
    """A score of another model than the one before it. Both are rows of SCORES, with COLUMNS."""

    before: Row
    row: Row
    p: float
    """Of the exact sign-flip test, Holm-corrected over all that the run tested."""

    @property
    def verdict(self) -> str | None:
        """better, worse, or None if chance explains the difference."""
        if self.p >= ALPHA:
            return None
        return "better" if self.row["avg_at_k"] > self.before["avg_at_k"] else "worse"


class Changes:
    """The scores of a catalog over time."""

    def __init__(self, tables: Tables) -> None:
        self._correct = tables.scores.column("correct")
        self._places: dict[str, int] = {}
        self.lines: dict[Line, list[Row]] = {}
        """The scores of each line, the oldest first."""
        for place, row in enumerate(tables.scores.select(COLUMNS).to_pylist()):  # the oldest come first
            self._places[row["record"]] = place
            line = row["pipeline"], row["label"], row["benchmark"], row["protocol"]
            self.lines.setdefault(line, []).append(row)

    def tested(self, last: int | None = None, run: str | None = None) -> list[Change]:
        """The changes among the `last` scores of each line, or those that one run made."""
        pairs = [
            (before, row)
            for rows in self.lines.values()
            for before, row in pairwise(rows[-last:] if last else rows)
            if before["model"] != row["model"] and run in (None, row["run"])
        ]
        p_values = [sign_flip_exact(self._counts(row) - self._counts(before)) for before, row in pairs]
        adjusted = _by_run([(row["run"] or row["record"], p) for (_, row), p in zip(pairs, p_values, strict=True)])
        return [Change(before, row, p) for (before, row), p in zip(pairs, adjusted, strict=True)]

    def difference(self, change: Change) -> Difference:
        """The difference of a change, with its interval."""
        after, before = (
            {str(place): (int(count), row["k"]) for place, count in enumerate(self._counts(row))}
            for row in (change.row, change.before)
        )
        return compare(after, before)

    def _counts(self, row: Row) -> npt.NDArray[np.int64]:
        return np.array(self._correct[self._places[row["record"]]].as_py(), dtype=np.int64)


def _by_run(tests: Sequence[tuple[str, float]]) -> Iterable[float]:
    """The p-values, Holm-corrected within each run."""
    members: dict[str, list[int]] = {}
    for place, (run, _) in enumerate(tests):
        members.setdefault(run, []).append(place)
    found = [0.0] * len(tests)
    for places in members.values():
        for place, p in zip(places, holm([tests[place][1] for place in places]), strict=True):
            found[place] = p
    return found
