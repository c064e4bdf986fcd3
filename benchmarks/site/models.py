"""Data of the Model page, and of every page that shows answers: one file per model."""

import json
from collections.abc import Iterable
from typing import Any

import pyarrow as pa

from benchmarks.catalog.compare import in_order
from benchmarks.catalog.overlaps import Overlaps
from benchmarks.catalog.schemas import Row
from benchmarks.catalog.tables import Tables
from benchmarks.site.facts import Models, moment, public, rounded, short_id
from hpt_core.evaluation.metrics import pass_curve

SHOWN = ("benchmark", "title", "group", "rows", "questions", "complete", "k", "samples", "solved", "record")
DECIDING = ("model", "pipeline", "label", "protocol", "record")
"""Columns of SCORES that decide a model's name and file."""
FRACTIONS = ("avg_at_k", "interval_low", "interval_high", "truncated_share", "mean_tokens")
SETTINGS = (
    *("name", "engine_version", "dtype", "grader_version", "temperature", "top_p", "max_tokens", "seed"),
    "prompt",
)
"""Columns of PROTOCOLS in a file."""
MAX_K = 64
"""Largest k of the pass@k curve in a file."""


class ModelData:
    """Makes the files of models from a catalog."""

    def __init__(self, tables: Tables, models: Models) -> None:
        self._tables = tables
        self._models = models
        self._scores: dict[str, list[Row]] = {}
        """Content hash -> DECIDING and the place in the table of each of its scores, the latest last."""
        for place, row in enumerate(tables.scores.select([*DECIDING, "latest"]).to_pylist()):
            if row["latest"]:
                self._scores.setdefault(row["model"], []).append({**row, "place": place})
        self._overlaps = Overlaps(tables)
        self._protocols = {row["protocol"]: row for row in tables.protocols.to_pylist()}
        self._labels: dict[str, str] = {}
        for row in tables.models.select(["model", "pipeline", "label"]).to_pylist():
            self._labels[row["model"]] = tables.labels.full(row["pipeline"], row["label"])

    def hashes(self) -> Iterable[str]:
        """Content hashes of all models with a score."""
        return self._scores.keys()

    def name(self, model: str) -> str:
        """The name of a model as the board shows it."""
        row = self._scores[model][-1]
        return self._tables.labels.full(row["pipeline"], row["label"])

    def key(self, model: str) -> list[Any]:
        """What a model's file is made of."""
        facts, stage = self._models.row(model), self._models.stage(model)
        children = [(row["record"], self._labels[row["model"]]) for row in self._models.children(model)]
        scores = self._scores[model]
        overlaps = [self._overlaps.of(model, self._protocols[row["protocol"]]["benchmark_hash"]) for row in scores]
        records = [row["record"] for row in scores]
        made = [facts and facts["record"], stage and stage["run"]]
        return [self.name(model), records, overlaps, made, children, self._lineage(model)]

    def data(self, model: str) -> Row:
        """The JSON of data/models/ID.json."""
        rows = self._rows(model)
        facts = self._models.row(model, rows[-1]["pipeline"], rows[-1]["label"])
        stage = self._models.stage(model)
        own: dict[str, list[Row]] = {}
        for row in rows:  # the latest come last
            own.setdefault(row["benchmark"], []).append(row)
        return {
            "id": short_id(model),
            "hash": model,
            "name": self.name(model),
            "facts": None if facts is None else _facts(facts),
            "stage": None if stage is None else _stage(stage),
            "lineage": self._lineage(model),
            "children": [self._link(row["model"]) for row in self._models.children(model)],
            "scores": [self._score(row) for benchmark in in_order(own) for row in own[benchmark]],
        }

    def _rows(self, model: str) -> list[Row]:
        places = pa.array([row["place"] for row in self._scores[model]])
        found: list[Row] = self._tables.scores.take(places).to_pylist()
        return found

    def _score(self, row: Row) -> Row:
        protocol = self._protocols[row["protocol"]]
        return {
            **{name: row[name] for name in SHOWN},
            **{name: rounded(row[name]) for name in FRACTIONS},
            "evaluation": short_id(row["evaluation"]),
            "protocol": short_id(row["protocol"]),
            "settings": {name: protocol[name] for name in SETTINGS},
            "set": short_id(protocol["benchmark_hash"]),
            "end": moment(row["end"]),
            "pipeline": row["pipeline"],
            "correct": row["correct"],
            "lengths": row["lengths"],
            "outcomes": row["outcomes"],
            "overlap": self._overlaps.of(row["model"], protocol["benchmark_hash"]),
            "pass_at": [rounded(value) for value in pass_curve(row["correct"], row["k"])[:MAX_K]],
        }

    def _lineage(self, model: str) -> list[Row]:
        """The models that it was made from, through first parents, the base first."""
        found, seen = [], {model}
        row = self._models.row(model)
        while row is not None and row["parents"] and row["parents"][0] not in seen:
            parent = row["parents"][0]
            seen.add(parent)
            found.append(self._link(parent))
            row = self._models.row(parent)
        return found[::-1]

    def _link(self, model: str) -> Row:
        """A model by name; without an id if it has no scores, and so no page."""
        return {
            "name": self._labels.get(model, model[:12]),
            "id": short_id(model) if model in self._scores else None,
        }


def _facts(row: Row) -> Row:
    names = ("stage", "kind", "algorithm", "family", "parameters", "seed", "method")
    return {
        **{name: row[name] for name in names},
        "origin": _parsed(row["origin"]),
        "swept": _parsed(row["swept"]),
        "data": [hash_[:12] for hash_ in row["data"]],
        "end": moment(row["end"]),
    }


def _stage(row: Row) -> Row:
    names = ("run", "commit", "tokens", "trained_tokens", "processor")
    return {
        **{name: row[name] for name in names},
        "gpus": sorted(set(row["gpus"] or ())),
        **{name: rounded(row[name]) for name in ("seconds", "device_seconds", "money")},
        "config": _parsed(row["config"]),
    }


def _parsed(text: str | None) -> Any:
    return None if text is None else public(json.loads(text))
