"""Data of the Board page: the sections of the catalog's board, with facts to filter by, and groups over seeds."""

import math
from collections import Counter
from collections.abc import Sequence
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

from benchmarks.catalog.board import Board, Cell, Line, Section
from benchmarks.catalog.labels import Labels, full_name
from benchmarks.catalog.schemas import Row
from benchmarks.catalog.tables import Tables
from benchmarks.effects import effect
from benchmarks.site.facts import Models, moment, public, rounded, short_id
from benchmarks.suite import GROUPS

PROTOCOL = ("name", "engine_version", "dtype", "seed", "temperature", "top_p", "max_tokens", "from_model")


def board_data(board: Board, tables: Tables, models: Models) -> Row:
    """The JSON of data/board.json; static/site.js reads it."""
    shares = _Shares(tables)
    return {
        "sections": [_section(section, models, shares, tables.labels) for section in board.sections],
        "failures": [public(vars(failure)) for failure in board.failures],
        "groups": GROUPS,
    }


def section_id(section: Section) -> str:
    """Name of a section in addresses."""
    return short_id(section.evaluation)


def _section(section: Section, models: Models, shares: "_Shares", labels: Labels) -> Row:
    facts = [models.facts(line.model, line.pipeline, line.name) for line in section.lines]
    return {
        "id": section_id(section),
        "pipelines": section.pipelines,
        "protocol": {name: section.protocol[name] for name in PROTOCOL},
        "end": moment(section.end),
        "columns": [vars(column) for column in section.columns],
        "lines": [
            {
                "name": full_name(line.pipeline, line.label),
                "label": line.label,
                "pipeline": line.pipeline,
                "id": short_id(line.model),
                "end": moment(line.end),
                **fact,
                "cells": [_cell(cell) for cell in line.cells],
            }
            for line, fact in zip(section.lines, facts, strict=True)
        ],
        "methods": _methods(section, facts, shares, labels),
    }


def _cell(cell: Cell | None) -> Row | None:
    """value, low, high; then only what applies: best, truncated, partial, differs."""
    if cell is None:
        return None
    marks = {
        "best": cell.best or None,
        "cut": rounded(cell.truncated) or None,
        "partial": cell.partial,
        "differs": cell.differs or None,
        "overlap": rounded(cell.overlap) if cell.overlap else None,
    }
    front = {"value": rounded(cell.value), "low": rounded(cell.low), "high": rounded(cell.high)}
    return front | {name: mark for name, mark in marks.items() if mark is not None}


class _Shares:
    """The share of correct samples of each question, by model, benchmark and section."""

    def __init__(self, tables: Tables) -> None:
        self._tables = tables

    @cached_property
    def _places(self) -> dict[tuple[str, str, str], tuple[int, int]]:
        names = ("model", "benchmark", "evaluation", "latest", "k")
        columns = zip(*(self._tables.scores.column(name).to_pylist() for name in names), strict=True)
        # The oldest come first.
        return {
            (model, benchmark, evaluation): (place, k)
            for place, (model, benchmark, evaluation, latest, k) in enumerate(columns)
            if latest
        }

    def of(self, members: Sequence[Line], benchmark: str, evaluation: str) -> npt.NDArray[np.float64]:
        """[S, Q] of the models of S seeds."""
        found = [self._places[line.model, benchmark, evaluation] for line in members]
        correct = self._tables.scores.column("correct")
        return np.array([np.array(correct[place].as_py()) / k for place, k in found])


def _methods(section: Section, facts: Sequence[Row], shares: _Shares, labels: Labels) -> list[Row]:
    """Lines that differ only in their seed, as one: mean, interval over seeds and questions, and spread."""
    groups: dict[tuple[str | None, str], list[tuple[Line, Row]]] = {}
    for line, fact in zip(section.lines, facts, strict=True):
        groups.setdefault((line.pipeline, fact["method"] or line.name), []).append((line, fact))
    groups = {key: members for key, members in groups.items() if len(members) > 1}
    texts = {key: labels.of_method(*key, [line.name for line, _ in members]) for key, members in groups.items()}
    uses = Counter((pipeline, text) for (pipeline, _), text in texts.items())
    found: list[Row] = []
    for (pipeline, method), members in groups.items():
        lines = [line for line, _ in members]
        label = texts[pipeline, method]
        if uses[pipeline, label] > 1:
            label = f"{label} ({method})"
        first = members[0][1]
        found.append(
            {
                "name": full_name(pipeline, label),
                "label": label,
                "pipeline": pipeline,
                "ids": [short_id(line.model) for line in lines],
                "members": [full_name(line.pipeline, line.label) for line in lines],
                "end": moment(max(line.end for line in lines)),
                **{name: first[name] for name in ("algorithm", "family", "parameters")},
                "seconds": _total([fact["seconds"] for _, fact in members]),
                "money": _total([fact["money"] for _, fact in members]),
                "cells": [_over_seeds(section, lines, place, shares) for place in range(len(section.columns))],
            }
        )
    return found


def _total(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return rounded(math.fsum(known)) if len(known) == len(values) else None


def _over_seeds(section: Section, lines: Sequence[Line], place: int, shares: _Shares) -> Row | None:
    """One column of a group of seeds, with the interval of the mixed model over seeds and questions; None unless all of
    them have it by the column's protocol."""
    cells = [line.cells[place] for line in lines]
    if any(cell is None or cell.differs for cell in cells):
        return None
    column = section.columns[place]
    own = [column] if column.benchmark else [c for c in section.columns if c.benchmark and c.group == column.group]
    found = effect([shares.of(lines, c.benchmark, section.evaluation) for c in own])
    values = [cell.value for cell in cells if cell]
    # Where all answers agree, as on what nothing solves, an interval of zero width would claim more than is known.
    low, high = found.interval() if found.variance else (None, None)
    row: dict[str, Any] = {
        "value": rounded(found.mean),
        "low": None if low is None else rounded(max(0.0, low)),
        "high": None if high is None else rounded(min(1.0, high)),
        "spread": [rounded(min(values)), rounded(max(values))],
    }
    cut = rounded(max(cell.truncated for cell in cells if cell))
    partial = next((cell.partial for cell in cells if cell and cell.partial), None)
    overlap = rounded(max(cell.overlap or 0.0 for cell in cells if cell))
    marks = {"cut": cut, "partial": partial, "overlap": overlap}
    return row | {name: mark for name, mark in marks.items() if mark}
