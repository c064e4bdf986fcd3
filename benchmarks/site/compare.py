"""Data of the Compare page: one file per pair of models."""

from collections.abc import Iterable, Iterator, Mapping
from functools import lru_cache

import pyarrow as pa

from benchmarks.catalog.board import Board
from benchmarks.catalog.compare import Side, compare_sides, question_counts
from benchmarks.catalog.records import Records
from benchmarks.catalog.schemas import Row
from benchmarks.catalog.tables import Tables
from benchmarks.significance import Counts, Difference
from benchmarks.site.facts import rounded, short_id
from hpt_core.errors import ConfigError

PAIRED = 16
"""Models of a section, the best first, of which every pair is compared when the site is built. A pair takes a tenth of
a second on eight benchmarks, and the number of pairs is quadratic."""
COUNTED = 256
"""Scores whose questions are kept in memory: 16 models on 16 benchmarks."""


def pair_path(first: str, second: str) -> str:
    """The file that compares two models, named by their ids; `first` comes first in order."""
    return f"data/compare/{first}-{second}.json"


class Sides:
    """The models with scores, by id. `board_data` and the pages use these ids."""

    def __init__(self, records: Records, tables: Tables) -> None:
        self._records = records
        self._labels = tables.labels
        self._scores = tables.scores.drop_columns("correct")
        self._names = self._scores.column("record").to_pylist()
        self._places: dict[str, list[int]] = {}
        for place, model in enumerate(self._scores.column("model").to_pylist()):  # the oldest come first
            self._places.setdefault(short_id(model), []).append(place)
        self._sides: dict[str, Side] = {}
        self._read = lru_cache(COUNTED)(self._read_counts)

    def __getitem__(self, model_id: str) -> Side:
        if model_id not in self._sides:
            rows = self._scores.take(pa.array(self._places[model_id])).to_pylist()
            scores: dict[str, list[Row]] = {}
            for row in rows:
                scores.setdefault(row["benchmark"], []).append(row)
            name = self._labels.full(rows[-1]["pipeline"], rows[-1]["label"])
            self._sides[model_id] = Side(name, rows[-1]["model"], scores)
        return self._sides[model_id]

    def __iter__(self) -> Iterator[str]:
        return iter(self._places)

    def __contains__(self, model_id: object) -> bool:
        return model_id in self._places

    def key(self, *ids: str) -> list[str]:
        """Names of the records with the scores of these models, which decide their comparison."""
        return [self._names[place] for name in ids for place in self._places[name]]

    def counts(self, score: Row) -> Counts:
        """As `question_counts`. Those of the models that were compared last are not read again."""
        return self._read(score["benchmark"], score["model"], score["record"])

    def _read_counts(self, benchmark: str, model: str, record: str) -> Counts:
        return question_counts(self._records, {"benchmark": benchmark, "model": model, "record": record})


def pairs_of(board: Board, history: Row) -> Iterable[tuple[str, str]]:
    """The pairs that are compared when the site is built: ids in order. What became better or worse, by `history_data`,
    is compared with the model before it."""
    found: dict[tuple[str, str], None] = {}
    for line in history["lines"]:
        before, last = line["points"][-2:]
        if last["change"]:
            first, second = sorted((before["id"], last["id"]))
            found[first, second] = None
    for section in board.sections:
        ids = sorted({short_id(line.model) for line in section.lines[:PAIRED]})
        found |= dict.fromkeys((a, b) for place, a in enumerate(ids) for b in ids[place + 1 :])
    return found


def pair_data(tables: Tables, sides: Sides, first: str, second: str) -> Row:
    """The JSON of a pair: what `hpt compare` says of the two, with fractions of 1."""
    try:
        found = compare_sides(tables, sides[first], sides[second], sides.counts)
    except ConfigError:
        return {"benchmarks": [], "averages": []}  # no question in common
    return {
        "benchmarks": [
            {
                "benchmark": pair.benchmark,
                "title": pair.title,
                **_difference(pair.found),
                "shares": [rounded(share) for share in pair.shares],
                "only": [pair.only_first, pair.only_second],
                "protocol_differences": pair.protocol_differences,
            }
            for pair in found.pairs
        ],
        "averages": [{"group": average.group, **_difference(average.found)} for average in found.averages],
    }


def _difference(found: Difference) -> Mapping[str, float | int]:
    return {
        "difference": found.difference,
        "low": found.low,
        "high": found.high,
        "p_value": found.p_value,
        "questions": found.questions,
        "better": found.better,
        "worse": found.worse,
    }
