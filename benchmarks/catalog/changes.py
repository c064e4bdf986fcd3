"""What became better or worse: each score of a name tested against the one before it by the same protocol.

The checkpoints of a training are a line over its steps. They are not tested, because training is to change the model.
"""

import re
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
_NUMBERED = re.compile(r"(.*\D)(\d+)")
"""The name of a checkpoint: "checkpoint_step-00100"."""


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
        self.checkpoints: dict[Line, dict[int, Row]] = {}
        """Step -> its latest score, of models that one sweep of a `[model.NAME]` made and whose names end with a
        number. The line's name has * in its place: "checkpoint_step-*"."""
        swept = _swept_models(tables)
        for place, row in enumerate(tables.scores.select(COLUMNS).to_pylist()):  # the oldest come first
            self._places[row["record"]] = place
            line = row["pipeline"], row["label"], row["benchmark"], row["protocol"]
            self.lines.setdefault(line, []).append(row)
            name = _NUMBERED.fullmatch(row["label"]) if line[:2] in swept else None
            if name:
                line = row["pipeline"], f"{name[1]}*", row["benchmark"], row["protocol"]
                self.checkpoints.setdefault(line, {})[int(name[2])] = row

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


def _swept_models(tables: Tables) -> set[tuple[str | None, str]]:
    """Pipeline and name of the models that a sweep has fetched, and that no stage has trained."""
    columns = ["pipeline", "label", "kind", "swept"]
    return {
        (row["pipeline"], row["label"])
        for row in tables.models.select(columns).to_pylist()
        if row["kind"] == "model" and row["swept"]
    }


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
