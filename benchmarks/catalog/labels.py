"""What people call a model: the `label` of its stage in the config of the pipeline's latest run that has the stage."""

import json
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from benchmarks.catalog.schemas import Row
from benchmarks.catalog.tables import Tables


def labeled(tables: Tables) -> Tables:
    """The tables with today's labels in place of the names of stages, which records have.

    A label can change without a stage that runs again, so it is no part of a record.
    """
    labels = _labels(tables.runs)
    if not labels:
        return tables
    models, scores = tables.models, tables.scores
    names, methods = models.column("label").to_pylist(), models.column("method").to_pylist()
    shown = _shown(models, labels)
    # The method is the label without the ending that a seed gave it.
    of_seeds = [text.removesuffix(name.removeprefix(m)) for text, name, m in zip(shown, names, methods, strict=True)]
    models = _with(_with(models, "label", shown), "method", of_seeds)
    return replace(tables, models=models, scores=_with(scores, "label", _shown(scores, labels)))


def _labels(runs: pa.Table) -> dict[tuple[str, str], str]:
    """(pipeline, name of a model's stage) -> label."""
    found: dict[tuple[str, str, str], str] = {}
    labeled = runs.filter(pc.match_substring(runs.column("config"), '"label"'))
    own = runs.filter(pc.is_in(runs.column("pipeline"), pc.unique(labeled.column("pipeline"))))
    for pipeline, text in zip(*(own.column(name).to_pylist() for name in ("pipeline", "config")), strict=True):
        for kind, name, stage in _stages(json.loads(text)):
            found.pop((pipeline, kind, name), None)
            if label := stage.get("label"):
                found[pipeline, kind, name] = label
    return {(pipeline, name): label for (pipeline, _, name), label in found.items()}


def _stages(config: Any) -> Iterator[tuple[str, str, Row]]:
    """(kind, name, config) of every stage that has a config of its own."""
    for kind, table in config.items() if isinstance(config, dict) else ():
        for name, stage in table.items() if isinstance(table, dict) else ():
            if isinstance(stage, dict):
                yield kind, name, stage


def _shown(table: pa.Table, labels: dict[tuple[str, str], str]) -> list[str]:
    names = zip(table.column("pipeline").to_pylist(), table.column("label").to_pylist(), strict=True)
    return [labels.get((pipeline, name), name) for pipeline, name in names]


def _with(table: pa.Table, column: str, values: list[str]) -> pa.Table:
    place = table.schema.get_field_index(column)
    return table.set_column(place, table.schema.field(place), pa.array(values, pa.string()))
