"""Read the results of runs as tables: `hpt.open_run("demo.toml").scores()`."""

import importlib
from collections.abc import Iterator, Mapping
from functools import cached_property
from pathlib import Path
from typing import Any, Literal, Self

import pyarrow as pa
import pyarrow.parquet as pq

from flows.load import load_config
from flows.run import plan_run
from hpt_core.artifacts import Store
from hpt_core.errors import ConfigError, StoreError, near
from hpt_core.evaluation.shards import read_present
from tasks import benchmark, evaluate, report, train
from tasks.execution.artifact import Artifact, Artifacts
from tasks.execution.config import PipelineConfig
from tasks.execution.keys import ArtifactKey, StageKey

Frame = Literal["pyarrow", "pandas", "polars"]
"""The library of the returned table."""
JOINED = ("outcome", "extracted")
"""Columns of the verdicts that are joined to the samples."""


def open_run(source: "str | Path | PipelineConfig") -> "Results":
    """Open the results of a pipeline, given as a config or the path of one, or the latest results in a store's folder.

    Runs no stage. Raises ConfigError for an invalid config and StoreError for a folder that is not a store.
    """
    if isinstance(source, PipelineConfig):
        return Results.of_config(source)
    path = Path(source)
    return Results.of_store(path) if path.is_dir() else Results.of_config(load_config(path))


class Results:
    """The results of a run, as tables."""

    def __init__(self, artifacts: Mapping[ArtifactKey, Artifact]) -> None:
        self.artifacts = Artifacts(artifacts)
        """The artifacts in the store, by key."""

    @classmethod
    def of_config(cls, config: PipelineConfig) -> Self:
        """The artifacts in the store for this config."""
        planned = plan_run(config).plan.artifacts
        # The work folder has the samples of a running evaluation.
        return cls({key: a for key, a in planned.items() if not a.provisional or a.work.is_dir()})

    @classmethod
    def of_store(cls, folder: Path) -> Self:
        """The latest artifact of each name in a store."""
        names = folder / "by-name"
        if not names.is_dir():
            raise StoreError(f"{folder} is not a store: it has no folder by-name", "give a config or a store")
        return cls(dict(_linked(Store(folder), names)))

    def scores(self, frame: Frame = "pyarrow") -> Any:
        """Scores of every model on every benchmark (benchmarks.report.schemas.SCORES)."""
        return self._table("scores", frame)

    def training_log(self, frame: Frame = "pyarrow") -> Any:
        """The training logs, one row per step (hpt_core.schemas.TRAIN_LOG), with a first column `stage`."""
        tables = []
        for key, artifact in self._of_step(train.TrainStep.kind):
            table = pq.read_table(artifact.path(train.LOG))
            tables.append(table.add_column(0, "stage", pa.array([str(key.stage)] * table.num_rows, pa.string())))
        return _as(_joined(tables, "training logs", "run `hpt train` first"), frame)

    def samples(self, model: str | None = None, benchmark: str | None = None, frame: Frame = "pyarrow") -> Any:
        """Samples with question, gold answer and verdict, optionally of one model ("hpt") or benchmark.

        Raises ConfigError with near matches for an unknown model or benchmark.
        """
        tables = []
        found = list(self._of_step(evaluate.SampleStep.kind))
        _require("model", model, [key.stage.name for key, _ in found])
        _require("benchmark", benchmark, [key.part for key, _ in found])
        for key, artifact in found:
            if model in (None, key.stage.name) and benchmark in (None, key.part):
                tables.append(self._samples(key, artifact))
        return _as(_joined(tables, "samples", "run `hpt evaluate` first"), frame)

    @cached_property
    def leaderboard(self) -> str:
        """The leaderboard as Markdown."""
        return (self._report() / "leaderboard.md").read_text(encoding="utf-8")

    @cached_property
    def page(self) -> Path:
        """Path of the leaderboard page."""
        return self._report() / "site" / "index.html"

    def _samples(self, key: ArtifactKey, artifact: Artifact) -> pa.Table:
        table = read_present(artifact.output, artifact.work)
        count = table.num_rows
        table = table.add_column(0, "model", pa.array([key.stage.name] * count, pa.string()))
        asked = self.artifacts.of(benchmark.KIND.key(key.part))
        if asked is not None:
            questions = pq.read_table(asked.path(benchmark.ASKED), columns=["question_id", "question", "gold"])
            table = table.join(questions, "question_id")
        graded = self.artifacts.of(evaluate.verdicts_key(key.stage, key.part))
        if graded is not None and graded.path(evaluate.VERDICTS).is_file():
            keys = ["question_id", "sample_index"]
            verdicts = pq.read_table(graded.path(evaluate.VERDICTS), columns=[*keys, *JOINED])
            return table.join(verdicts, keys).sort_by([(name, "ascending") for name in keys])
        for name in JOINED:
            table = table.append_column(name, pa.nulls(count, pa.string()))
        return table

    def _table(self, name: str, frame: Frame) -> Any:
        return _as(pq.read_table(self._report() / "tables" / f"{name}.parquet"), frame)

    def _report(self) -> Path:
        found = self.artifacts.of(report.KIND.key())
        if found is None or found.provisional:
            raise StoreError("there is no report yet", "run `hpt report` first")
        return found.path(report.REPORT)

    def _of_step(self, kind: str) -> Iterator[tuple[ArtifactKey, Artifact]]:
        yield from ((key, a) for key, a in self.artifacts.items() if a.kind == kind and a.output.is_dir())


def _linked(store: Store, names: Path) -> Iterator[tuple[ArtifactKey, Artifact]]:
    for link in sorted(path for path in names.rglob("*") if path.is_symlink()):
        folder = link.resolve()
        manifest = store.slot(folder.parent.name, folder.name).manifest()
        if manifest is not None:
            stage, *rest = link.relative_to(names).parts
            key = ArtifactKey(StageKey.parse(stage), *_kind_and_part(rest, manifest.kind))
            yield key, Artifact(key, manifest.kind, manifest.fingerprint, folder, manifest.outputs)


def _kind_and_part(rest: list[str], kind: str) -> tuple[str, str]:
    """Parse the rest of an artifact's name after the stage: nothing, a kind or a part, or a kind and a part."""
    if len(rest) == 1:
        return ("", rest[0]) if rest[0] != kind else (rest[0], "")
    return (rest[0], rest[1]) if rest else ("", "")


def _require(what: str, name: str | None, known: list[str]) -> None:
    if name is not None and name not in known:
        raise ConfigError(f"there are no samples of {what} {name!r}", near(name, tuple(dict.fromkeys(known))))


def _joined(tables: list[pa.Table], what: str, remedy: str) -> pa.Table:
    if not tables:
        raise StoreError(f"there are no {what} yet", remedy)
    return pa.concat_tables(tables)


def _as(table: pa.Table, frame: Frame) -> Any:
    if frame == "pyarrow":
        return table
    if frame not in ("pandas", "polars"):
        raise ConfigError(f"unknown table library {frame!r}", near(frame, ("pyarrow", "pandas", "polars")))
    try:
        library: Any = importlib.import_module(frame)
    except ImportError as error:
        raise ConfigError(f"{frame} is not installed", f"pip install {frame}") from error
    return table.to_pandas() if frame == "pandas" else library.from_arrow(table)
