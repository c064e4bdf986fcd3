"""What a report is built from: the spec of `python -m benchmarks.report.build`."""

from datetime import datetime
from pathlib import Path
from typing import Literal

from pydantic import AwareDatetime, Field, model_validator

from hpt_core.base import Frozen
from hpt_core.plugins import near
from hpt_core.rollout.base import Sampling


class SuiteInfo(Frozen):
    """A benchmark as the report shows it; the order of the suites is the order of the columns."""

    name: str
    """Name in benchmarks/suites."""
    title: str
    """What tables show: "AIME 2024"."""
    group: Literal["in", "out"]
    """In or out of the training data's distribution; averages are taken within a group."""
    rows: int = Field(ge=1)
    """Questions of the whole benchmark: fewer in a result mark it as limited."""
    k: int = Field(ge=1)
    """Samples a question by the benchmark's own protocol: another k in a result is marked."""
    sampling: Sampling
    """The benchmark's own sampler: another one in a result is marked."""
    questions: Path | None = None
    """The questions that were asked (hpt_core.schemas.QUESTIONS): their families can tell a level of difficulty."""


class Protocol(Frozen):
    """How a number was made. Two numbers are comparable where everything but `model_hash` is equal."""

    prompt: str
    """The prompt component in words or JSON (kind, system message, instruction)."""
    sampling: Sampling
    """Temperature, top_p, new tokens at most, and what ends a sample before."""
    k: int = Field(ge=1)
    """Samples a question."""
    engine_version: str
    """Name and version of the engine that drew the samples."""
    engine: str
    """The engine's config as JSON, without what cannot change a sample."""
    dtype: str
    """Compute precision of the engine."""
    model_hash: str
    """Content hash of the model folder."""
    benchmark_hash: str
    """Content hash of the questions."""
    grader_version: str
    """Name and version of the verifier."""
    grade_timeout_s: float
    """Seconds that one comparison may take."""
    seed: int
    """Seed that the sampling seeds derive from."""
    limit: int | None = None
    """Questions at most; None where the whole benchmark was asked."""
    prompt_hash: str | None = None
    """Hash of the first question's final text, chat template included; None where it was not recorded."""


class BenchmarkResult(Frozen):
    """One model on one benchmark."""

    samples: Path
    """Folder of sample shards, part-*.parquet (hpt_core.schemas.SAMPLES)."""
    verdicts: Path
    """verdicts.parquet (hpt_core.schemas.VERDICTS)."""
    protocol: Protocol


class ModelResult(Frozen):
    """One row of the leaderboard; the order of the models is the order of the rows."""

    name: str
    """`model.NAME` or `train.NAME`."""
    label: str
    """What tables show."""
    algorithm: str | None = None
    """Name of the algorithm that trained it; None for a model that the pipeline started from."""
    results: dict[str, BenchmarkResult] = Field(default_factory=dict)
    """Benchmark name -> result. Without any, the model shows in the training curves alone."""
    train_log: Path | None = None
    """log.parquet of its training stage (hpt_core.schemas.TRAIN_LOG)."""
    trained_on: tuple[str, ...] = ()
    """`data.NAME` of its training stage and of those that made the model it started from; none where nothing is known
    of what it was trained on."""


class ContaminationResult(Frozen):
    """Training data against one benchmark."""

    data: str
    """`data.NAME`."""
    benchmark: str
    path: Path
    """contamination.parquet (hpt_core.schemas.CONTAMINATION)."""


class ReportInputs(Frozen):
    """Spec of a report: writes tables/, site/ and leaderboard.md into `output`."""

    title: str
    """Title of the page."""
    pipeline: str
    """Name of the pipeline."""
    published: str | None = None
    """Published results to show beside the measured ones (benchmarks/published.py)."""
    baseline: str | None = None
    """Name of the model that the others are compared with; the first one with results where None."""
    models: tuple[ModelResult, ...] = Field(min_length=1)
    suites: tuple[SuiteInfo, ...] = Field(min_length=1)
    contamination: tuple[ContaminationResult, ...] = ()
    """What of the benchmarks stands in the training data."""
    overlap_share: float = Field(0.2, gt=0, le=1)
    """Share of a question's n-grams that must stand in training data for it to count as overlapping."""
    overlap_ngram: int = Field(13, ge=1)
    """Words of an n-gram."""
    created: AwareDatetime
    """When the run that is reported took place, passed in so that the same inputs give the same bytes."""
    notes: tuple[str, ...] = ()
    """Sentences to show under the title: what the run was, what it is not."""
    output: Path
    """Folder to fill."""

    @model_validator(mode="after")
    def _names_hold(self) -> "ReportInputs":
        models = tuple(m.name for m in self.models)
        suites = tuple(s.name for s in self.suites)
        for kind, found in (("model", models), ("suite", suites)):
            twice = sorted({name for name in found if found.count(name) > 1})
            if twice:
                raise ValueError(f"{kind} {twice[0]!r} is given twice")
        for model in self.models:
            for name in model.results:
                if name not in suites:
                    raise ValueError(f"{model.name}: unknown benchmark {name!r}; {near(name, suites)}")
        measured = tuple(m.name for m in self.models if m.results)
        if not measured:
            raise ValueError("no model has a result; evaluate at least one")
        if self.baseline is not None and self.baseline not in measured:
            raise ValueError(f"baseline {self.baseline!r} has no result; {near(self.baseline, measured)}")
        return self

    @property
    def measured(self) -> tuple[ModelResult, ...]:
        """Models with at least one result, in order."""
        return tuple(m for m in self.models if m.results)

    @property
    def baseline_name(self) -> str:
        """Name of the model that the others are compared with."""
        return self.baseline or self.measured[0].name

    @property
    def created_text(self) -> str:
        """Date and time for readers: "2026-01-31 06:00 UTC" (the offset where it is not UTC)."""
        return _stamp(self.created)


def _stamp(moment: datetime) -> str:
    return f"{moment:%Y-%m-%d %H:%M} {moment.tzname()}"
