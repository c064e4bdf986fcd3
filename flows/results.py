"""Read the results of runs as tables: `hpt.open_run("demo.toml").scores()`."""

import importlib
import logging
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Literal, Self

import pyarrow as pa
import pyarrow.parquet as pq

from flows.load import load_config
from flows.run import plan_run
from hpt_core.artifacts import Manifest, Store
from hpt_core.errors import ConfigError, HPTError, StoreError, near
from hpt_core.evaluation.shards import read_present, read_questions
from hpt_core.schemas import VERDICTS
from tasks import benchmark as benchmarks
from tasks import evaluate, report, train
from tasks.execution.artifact import Artifact, Artifacts
from tasks.execution.config import PipelineConfig
from tasks.execution.keys import ArtifactKey, StageKey

LOG = logging.getLogger("hpt.results")

Frame = Literal["pyarrow", "pandas", "polars"]
"""The library of the returned table."""


@dataclass(frozen=True, slots=True)
class StoredSamples:
    """The stored samples of one model on one benchmark."""

    model: str
    benchmark: str
    questions: pa.Table
    """Schema QUESTIONS."""
    samples: pa.Table
    """Schema SAMPLES; incomplete while an evaluation runs."""
    verdicts: pa.Table | None
    """Schema VERDICTS; None if the samples are not graded yet."""

    def joined(self) -> pa.Table:
        """The samples with columns `model`, `question`, `gold`, `outcome` and `extracted`, in the samples' order."""
        count, keys = self.samples.num_rows, ["question_id", "sample_index"]
        verdicts = VERDICTS.empty_table() if self.verdicts is None else self.verdicts
        return (
            self.samples.add_column(0, "model", pa.array([self.model] * count, pa.string()))
            .append_column("place", pa.array(range(count)))
            .join(self.questions.select(["question_id", "question", "gold"]), "question_id")
            .join(verdicts.select([*keys, "outcome", "extracted"]), keys)
            .sort_by("place")
            .drop_columns("place")
        )


def open_run(source: "str | Path | PipelineConfig", pipeline: str | None = None) -> "Results":
    """Open the results of a pipeline, given as a config, the path of one, or a store's folder or URL.

    A store that several pipelines use needs the name of one. Runs no stage. Raises ConfigError for an invalid config or
    pipeline name, and StoreError for a folder that is not a store.
    """
    if isinstance(source, PipelineConfig):
        return Results.of_config(source)
    if "://" in str(source):
        return Results.of_store(str(source), pipeline)
    path = Path(source)
    return Results.of_store(path, pipeline) if path.is_dir() else Results.of_config(load_config(path))


class Results:
    """The results of a run, as tables."""

    def __init__(
        self, artifacts: Mapping[ArtifactKey, Artifact], problems: Mapping[StageKey, HPTError] | None = None
    ) -> None:
        self.artifacts = Artifacts(artifacts)
        """The artifacts in the store, by key."""
        self.problems = problems or {}
        """The planning errors of stages, their own or those of the stages that block them."""

    @classmethod
    def of_config(cls, config: PipelineConfig) -> Self:
        """The artifacts in the store for this config."""
        plan = plan_run(config).plan
        blocked = {key: plan.problems[upstream] for key, upstream in plan.blocked.items()}
        return cls(plan.artifacts, plan.problems | blocked)

    @classmethod
    def of_store(cls, folder: Path | str, pipeline: str | None = None) -> Self:
        """The artifacts that a pipeline used last. Those whose inputs have been replaced since are left out, with a
        warning."""
        store = Store(folder)
        store.refresh()
        found = store.pipelines()
        if not found:
            raise StoreError(f"{folder} is not a store, or no pipeline has run on it", "give a config or a store")
        if pipeline is None and len(found) > 1:
            raise ConfigError(f"{folder} holds the pipelines {', '.join(found)}", "give the name of one: pipeline=...")
        if pipeline is not None and pipeline not in found:
            raise ConfigError(f"{folder} holds no pipeline {pipeline!r}", near(pipeline, tuple(found)))
        return cls(_current(dict(_linked(store, pipeline or found[0]))))

    def scores(self, frame: Frame = "pyarrow") -> Any:
        """Scores of every model on every benchmark (benchmarks.report.schemas.SCORES)."""
        return self._table("scores", frame)

    def training_log(self, frame: Frame = "pyarrow") -> Any:
        """The training logs, one row per step (hpt_core.schemas.TRAIN_LOG), with a first column `stage`."""
        tables = []
        for key, artifact in self.artifacts.items():
            if artifact.kind == train.TrainStep.kind and artifact.path(train.LOG).is_file():
                table = pq.read_table(artifact.path(train.LOG))
                tables.append(table.add_column(0, "stage", pa.array([str(key.stage)] * table.num_rows, pa.string())))
        if not tables:
            raise self._absent(train.KIND.name, "there are no training logs yet", "run `hpt train` first")
        # Logs of earlier releases have fewer columns.
        return _as(pa.concat_tables(tables, promote_options="default"), frame)

    def samples(self, model: str | None = None, benchmark: str | None = None, frame: Frame = "pyarrow") -> Any:
        """Samples with question, gold answer and verdict, optionally of one model ("hpt") or benchmark.

        Raises ConfigError with near matches for an unknown model or benchmark.
        """
        return _as(pa.concat_tables([unit.joined() for unit in self.stored_samples(model, benchmark)]), frame)

    def stored_samples(self, model: str | None = None, benchmark: str | None = None) -> list[StoredSamples]:
        """The tables behind `samples`, by model and benchmark. Raises ConfigError as `samples` does, and StoreError if
        there are no samples."""
        found = [self.unit(name, part) for name, part in self.sampled(model, benchmark)]
        found = [unit for unit in found if unit.samples.num_rows]
        if not found:
            raise self._no_samples()
        return found

    def sampled(self, model: str | None = None, benchmark: str | None = None) -> list[tuple[str, str]]:
        """(model, benchmark) of every evaluation that has begun. Raises as `stored_samples` does."""
        every = [(key, a) for key, a in self.artifacts.items() if a.kind == evaluate.SampleStep.kind]
        for what, name, known in (
            ("model", model, [key.stage.name for key, _ in every]),
            ("benchmark", benchmark, [key.part for key, _ in every]),
        ):
            if name is not None and name not in known:
                raise ConfigError(f"nothing evaluates {what} {name!r}", near(name, tuple(dict.fromkeys(known))))
        found = [
            (key.stage.name, key.part)
            for key, artifact in every
            if model in (None, key.stage.name) and benchmark in (None, key.part)
            if self.shards(key.stage.name, key.part) or (artifact.work / "journal").exists()
        ]
        if not found:
            raise self._no_samples()
        return found

    def unit(self, model: str, benchmark: str) -> StoredSamples:
        """The tables of one model on one benchmark. Its samples are empty if there are none yet."""
        artifact = self.artifacts[evaluate.samples_key(evaluate.KIND.key(model), benchmark)]
        table = read_present(artifact.output, artifact.work)
        return StoredSamples(model, benchmark, self.questions(benchmark), table, self.verdicts(model, benchmark))

    def shards(self, model: str, benchmark: str) -> list[Path]:
        """The files with the samples of one model on one benchmark, in their order."""
        artifact = self.artifacts[evaluate.samples_key(evaluate.KIND.key(model), benchmark)]
        return sorted(artifact.path(evaluate.SAMPLES).glob("part-*.parquet"))

    def questions(self, benchmark: str) -> pa.Table:
        """The questions that models were asked (schema QUESTIONS)."""
        return read_questions(self.artifacts[benchmarks.KIND.key(benchmark)].path(benchmarks.ASKED))

    def verdicts(self, model: str, benchmark: str) -> pa.Table | None:
        """The verdicts of one model on one benchmark (schema VERDICTS); None if it is not graded yet."""
        found = self.artifacts.of(evaluate.verdicts_key(evaluate.KIND.key(model), benchmark))
        return None if found is None or found.provisional else pq.read_table(found.path(evaluate.VERDICTS))

    def _no_samples(self) -> HPTError:
        return self._absent(
            evaluate.KIND.name,
            "there are no samples yet",
            "run `hpt evaluate` first, with the same store, data folder (HPT_DATA) and overrides",
        )

    @cached_property
    def leaderboard(self) -> str:
        """The leaderboard as Markdown."""
        return (self._report() / "leaderboard.md").read_text(encoding="utf-8")

    @cached_property
    def page(self) -> Path:
        """Path of the leaderboard page."""
        return self._report() / "site" / "index.html"

    def _table(self, name: str, frame: Frame) -> Any:
        return _as(pq.read_table(self._report() / "tables" / f"{name}.parquet"), frame)

    def _report(self) -> Path:
        found = self.artifacts.of(report.KIND.key())
        if found is None or found.provisional:
            raise self._absent(report.KIND.name, "there is no report yet", "run `hpt report` first")
        return found.path(report.REPORT)

    def _absent(self, kind: str, cause: str, remedy: str) -> HPTError:
        """The error for missing artifacts: why a stage of this kind cannot run, or else that it has not run yet."""
        found = (error for key, error in self.problems.items() if key.kind == kind)
        return next(found, StoreError(cause, remedy))


Linked = tuple[Artifact, Manifest]


def _current(linked: dict[ArtifactKey, Linked]) -> dict[ArtifactKey, Artifact]:
    """The artifacts whose inputs are all outputs of others."""
    while True:
        hashes = {value for artifact, _ in linked.values() for value in artifact.outputs.values()}
        outdated = [key for key, (_, manifest) in linked.items() if not hashes.issuperset(manifest.inputs.values())]
        if not outdated:
            return {key: artifact for key, (artifact, _) in linked.items()}
        for key in outdated:
            LOG.warning("%s is left out: its inputs have been replaced since", key)
            del linked[key]


def _linked(store: Store, pipeline: str) -> Iterator[tuple[ArtifactKey, Linked]]:
    for name, slot in store.names(pipeline).items():
        if manifest := slot.manifest():
            artifact = Artifact.stored(name, slot, manifest)
            yield artifact.key, (artifact, manifest)


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
