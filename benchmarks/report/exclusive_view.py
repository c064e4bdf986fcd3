"""Views of the table EXCLUSIVE for the page and leaderboard.md."""

from collections import Counter
from dataclasses import dataclass
from itertools import groupby
from typing import NamedTuple

import pyarrow as pa

from benchmarks.report.board import OVERLAP_MARK, overlap_details
from benchmarks.report.schemas import Row


class Pair(NamedTuple):
    """A model compared with another on one benchmark."""

    gained: int
    """Questions that only the model solves."""
    lost: int
    """Questions that only the other model solves."""
    comparable: bool
    overlaps: bool
    """Whether some questions overlap the training data of either model."""


@dataclass(frozen=True)
class Square:
    """One ordered pair in a matrix."""

    names: tuple[str, ...]
    """Classes of difficulty, from easy to hard."""
    alone: tuple[int, ...]
    """Questions of each class that the row's model solves and the column's model does not."""
    questions: tuple[int, ...]
    """Questions of each class that both answered."""
    solved: int
    """Questions that the row's model solves."""
    comparable: bool
    mark: str
    """Marks beside the number: not comparable, or questions that overlap training data."""
    notes: tuple[tuple[str, str], ...]
    """Terms and values that explain the marks."""

    @property
    def text(self) -> str:
        """Number of questions in all classes."""
        return f"{sum(self.alone):,}"

    @property
    def classes(self) -> str:
        """The number by difficulty: "3 · 1 · 0"; "" with one class."""
        return " · ".join(map(str, self.alone)) if len(self.alone) > 1 else ""

    @property
    def shade(self) -> int:
        """Percent of the questions that both answered, so that shades compare between matrices."""
        return round(100 * sum(self.alone) / sum(self.questions))


@dataclass(frozen=True)
class ExclusiveMatrix:
    """All ordered pairs of models on one benchmark."""

    place: int
    title: str
    caption: str
    """How difficulty is defined, and its classes."""
    names: tuple[str, ...]
    """Classes of difficulty in most squares."""
    labels: tuple[str, ...]
    lines: tuple[tuple[str, tuple[Square | None, ...]], ...]
    """(label, one square per column). None on the diagonal and if two models share no question."""


def matrices(exclusive: pa.Table) -> list[ExclusiveMatrix]:
    """One matrix per benchmark, in the leaderboard's order."""
    return [_matrix(list(rows)) for _, rows in groupby(_sorted(exclusive), lambda row: row["column"])]


def against(exclusive: pa.Table, baseline: str) -> dict[str, dict[int, Pair]]:
    """Model -> column -> the model compared with the baseline."""
    totals: dict[tuple[str, str, int], int] = {}
    overlapping: set[tuple[str, str, int]] = set()
    found: dict[str, dict[int, Pair]] = {}
    rows = _sorted(exclusive)
    for row in rows:
        key = row["model"], row["other"], row["column"]
        totals[key] = totals.get(key, 0) + row["exclusive"]
        if row["overlapping_questions"]:
            overlapping.add(key)
    for row in sorted(rows, key=lambda row: row["row"]):
        model, column = row["model"], row["column"]
        if row["other"] == baseline:
            gained, lost = totals[model, baseline, column], totals[baseline, model, column]
            found.setdefault(model, {})[column] = Pair(
                gained, lost, not row["protocol_differences"], (model, baseline, column) in overlapping
            )
    return found


def _sorted(exclusive: pa.Table) -> list[Row]:
    rows: list[Row] = exclusive.drop_columns("question_ids").to_pylist()
    return sorted(rows, key=lambda row: (row["column"], row["row"], row["other_row"], row["place"]))


def _matrix(rows: list[Row]) -> ExclusiveMatrix:
    labels = dict(sorted({row["row"]: row["label"] for row in rows}.items()))
    pairs = {key: list(found) for key, found in groupby(rows, lambda row: (row["row"], row["other_row"]))}
    first = rows[0]
    lines = []
    for row, label in labels.items():
        squares = [_square(pairs[row, other]) if (row, other) in pairs else None for other in labels]
        lines.append((label, tuple(squares)))
    ((names, _),) = Counter(square.names for _, squares in lines for square in squares if square).most_common(1)
    return ExclusiveMatrix(first["column"], first["title"], _caption(rows), names, tuple(labels.values()), tuple(lines))


def _caption(rows: list[Row]) -> str:
    """The classes below a number, in words."""
    by = {row["difficulty_by"] for row in rows}
    if "level" in by:
        return "by level: " + " · ".join(dict.fromkeys(row["difficulty"].removeprefix("level ") for row in rows))
    return "easy · medium · hard" if "other models" in by else ""


def _square(rows: list[Row]) -> Square:
    differing, overlapping = rows[0]["protocol_differences"], sum(r["overlapping_questions"] or 0 for r in rows)
    return Square(
        names=tuple(r["difficulty"] for r in rows),
        alone=tuple(r["exclusive"] for r in rows),
        questions=tuple(r["questions"] for r in rows),
        solved=sum(r["solved"] for r in rows),
        comparable=not differing,
        mark=("*" if differing else "") + (OVERLAP_MARK if overlapping else ""),
        notes=(
            *overlap_details(overlapping > 0, overlapping),
            *((("Not comparable", f"protocols differ in {', '.join(differing)}"),) if differing else ()),
        ),
    )
