"""What people call a model: the `label` of its stage in the config of the pipeline's latest run that has the stage."""

import json
from collections import Counter
from collections.abc import Collection, Iterable, Iterator
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from benchmarks.catalog.schemas import Row

Key = tuple[str | None, str]
"""Pipeline, and name of the model's stage. Only this tells models apart; a label can change at any time."""


def full_name(pipeline: str | None, label: str) -> str:
    """ "PIPELINE/LABEL", or the label alone without a pipeline."""
    return f"{pipeline}/{label}" if pipeline else label


class Labels:
    """The labels of a catalog's models. No two models of a pipeline have the same."""

    def __init__(self, runs: pa.Table, models: pa.Table, scores: pa.Table) -> None:
        found = dict(_configured(runs, set(models.column("kind").to_pylist())))
        names = {key for table in (models, scores) for key in _names(table)} | found.keys()
        uses = Counter((key[0], found.get(key, key[1])) for key in names)
        self._of: dict[Key, str] = {
            (pipeline, name): f"{label} ({name})" if uses[pipeline, label] > 1 else label
            for (pipeline, name), label in found.items()
            if label != name
        }

    def of(self, pipeline: str | None, name: str) -> str:
        """The label; the name if the stage has none."""
        return self._of.get((pipeline, name), name)

    def full(self, pipeline: str | None, name: str) -> str:
        """ "PIPELINE/LABEL"."""
        return full_name(pipeline, self.of(pipeline, name))

    def of_method(self, pipeline: str | None, method: str, names: Iterable[str]) -> str:
        """The label of models that differ only in their seed: what is left of theirs without the seed; the method's
        name if that is not the same, or if another pipeline has named the method."""
        found = {
            self.of(pipeline, name).removesuffix(name.removeprefix(method)) if name.startswith(method) else method
            for name in names
        }
        return found.pop() if len(found) == 1 else method

    def key(self) -> list[tuple[Key, str]]:
        """All labels: what files are made of that show many of them."""
        return sorted(self._of.items(), key=str)


def _configured(runs: pa.Table, kinds: Collection[str]) -> dict[Key, str]:
    """The label in the latest config with the stage; the name if it has none there. Pipelines without labels are left
    out. `kinds` are those of stages that make models."""
    some = runs.filter(pc.match_substring(runs.column("config"), '"label"')).column("pipeline")
    own = runs.filter(pc.is_in(runs.column("pipeline"), pc.unique(some)))  # the oldest come first
    columns = zip(*(own.column(name).to_pylist() for name in ("pipeline", "config")), strict=True)
    return {
        (pipeline, name): label if isinstance(label := stage.get("label"), str) else name
        for pipeline, text in columns
        for name, stage in _stages(json.loads(text), kinds)
    }


def _stages(config: Any, kinds: Collection[str]) -> Iterator[tuple[str, Row]]:
    for kind in kinds if isinstance(config, dict) else ():
        table = config.get(kind)
        for name, stage in table.items() if isinstance(table, dict) else ():
            if isinstance(stage, dict):
                yield name, stage


def _names(table: pa.Table) -> Iterator[Key]:
    return zip(*(table.column(name).to_pylist() for name in ("pipeline", "label")), strict=True)
