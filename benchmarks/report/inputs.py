"""The inputs of a report: the spec of `python -m benchmarks.report.build`."""

from datetime import datetime
from pathlib import Path

from pydantic import AwareDatetime, Field, model_validator

from benchmarks.suite import Group
from hpt_core.base import Frozen
from hpt_core.plugins import near
from hpt_core.rollout.base import Sampling


class Rules(Frozen):
    """What a protocol says about a benchmark. A result that differs is marked."""

    protocol: str
    """Name of the protocol, such as "paper"."""
    prompt: str
    """As in Protocol."""
    sampling: Sampling
    """Temperature, top_p, maximum new tokens, and all other options."""
    max_total_tokens: int | None = None
    """Maximum tokens of prompt and response together; None if there is no such limit."""
    k: int = Field(ge=1)
    """Samples per question."""
    counted_from: int | None = None
    """The seed of every question's first sample, from which the others count; None if seeds are derived."""
    dtype: str | None = None
    """Compute precision of the engine; None allows any."""
    graders: tuple[str, ...] = ()
    """Names of the graders beside the benchmark's own verifier."""
    covers: bool = True
    """Whether the benchmark is one of the protocol's."""


class PublishedRules(Rules):
    """How a published number was measured. Its graders are not those of any result here."""

    grader: str
    """Its graders, in words."""
    data: str
    """Source of its questions."""


class SuiteInfo(Frozen):
    """A benchmark in the report. The order of the suites is the order of the columns."""

    name: str
    """Name in benchmarks/suites."""
    title: str
    """Title in tables: "AIME 2024"."""
    group: Group
    """In or out of the training data's distribution, or neither. Averages are taken within a group."""
    rows: int = Field(ge=1)
    """Questions of the whole benchmark. A result with fewer is marked as limited."""
    gated: bool = False
    """Whether its text must never be public. The table of samples leaves it out."""
    data: str = ""
    """The data set of its questions; "" if it has no name."""
    rules: Rules
    """The chosen protocol without the config's overrides."""
    published: PublishedRules | None = None
    """The protocol of the column's published numbers, if it has any."""
    questions: Path | None = None
    """The questions that were asked (hpt_core.schemas.QUESTIONS). Their families may contain a level of difficulty."""


class Protocol(Frozen):
    """How a number was measured. Two numbers are comparable if all fields except `model_hash` are equal."""

    prompt: str
    """The prompt component, in words or JSON (kind, system message, instruction)."""
    sampling: Sampling
    """Temperature, top_p, maximum new tokens, and all other options."""
    max_total_tokens: int | None = None
    """Maximum tokens of prompt and response together; None if there is no such limit."""
    from_model: bool = False
    """Whether options of the model's own generation_config.json count. `sampling` contains them."""
    k: int = Field(ge=1)
    """Samples per question."""
    engine_version: str
    """Name and version of the engine that generated the samples."""
    engine: str
    """The engine's config as JSON, without settings that cannot change a sample."""
    dtype: str
    """Compute precision of the engine."""
    model_hash: str
    """Content hash of the model folder."""
    benchmark_hash: str
    """Content hash of the questions."""
    grader_version: str
    """Name and version of the verifier."""
    grade_timeout_s: float
    """Time limit of one comparison, in seconds."""
    seed: int
    """Seed of the samples."""
    seeds: str = "derived"
    """How a sample's seed follows from it: "derived", or "counted" (seed + i for sample i)."""
    limit: int | None = None
    """Maximum number of questions; None if the whole benchmark was asked."""
    prompt_hash: str | None = None
    """Hash of the first question's rendered prompt, chat template included; None if it was not recorded."""
    protocol: str = "benchmark"
    """Name of the protocol. Overrides of the config show in the other fields."""


class BenchmarkResult(Frozen):
    """One model on one benchmark."""

    samples: Path
    """Folder of sample shards, part-*.parquet (hpt_core.schemas.SAMPLES)."""
    verdicts: Path
    """verdicts.parquet (hpt_core.schemas.VERDICTS), of which the score is computed."""
    others: dict[str, Path] = Field(default_factory=dict)
    """Each further grader, by name and version -> its verdicts.parquet."""
    protocol: Protocol


class ModelResult(Frozen):
    """One row of the leaderboard. The order of the models is the order of the rows."""

    name: str
    """Key of the stage that produced the model, such as `train.hpt`."""
    label: str
    """Name in tables."""
    algorithm: str | None = None
    """Name of the algorithm that trained it; None for a starting model of the pipeline."""
    results: dict[str, BenchmarkResult] = Field(default_factory=dict)
    """Benchmark name -> result. A model without results appears only in the training curves."""
    train_log: Path | None = None
    """log.parquet of its training stage (hpt_core.schemas.TRAIN_LOG)."""
    trained_on: tuple[str, ...] = ()
    """`data.NAME` of its training stage and of those that made its starting model; empty if unknown."""


class ContaminationResult(Frozen):
    """Overlap of one training data set with one benchmark."""

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
    """Published results to show beside the measured ones (benchmarks/published)."""
    baseline: str | None = None
    """Name of the model with which the others are compared; None means the first one with results."""
    models: tuple[ModelResult, ...] = Field(min_length=1)
    suites: tuple[SuiteInfo, ...] = Field(min_length=1)
    contamination: tuple[ContaminationResult, ...] = ()
    """Overlap of the benchmarks with the training data."""
    overlap_share: float = Field(0.2, gt=0, le=1)
    """Minimum share of a question's n-grams in training data for the question to count as overlapping."""
    overlap_ngram: int = Field(13, ge=1)
    """Words of an n-gram."""
    measured_until: AwareDatetime
    """When the last verdicts were finished. Not when the report is built, so that equal inputs give equal bytes."""
    notes: tuple[str, ...] = ()
    """Sentences to show under the title, such as the purpose and limits of the run."""
    output: Path
    """Output folder."""

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
        """Name of the model with which the others are compared."""
        return self.baseline or self.measured[0].name

    @property
    def protocol(self) -> str:
        """Name of the protocol."""
        return ", ".join(dict.fromkeys(s.rules.protocol for s in self.suites))

    @property
    def measured_until_text(self) -> str:
        """Date and time for readers: "2026-01-31 06:00 UTC", with the offset if it is not UTC."""
        return _stamp(self.measured_until)


def _stamp(moment: datetime) -> str:
    return f"{moment:%Y-%m-%d %H:%M} {moment.tzname()}"
