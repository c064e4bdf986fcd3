"""Build the tables and the leaderboard: `python -m benchmarks.report.build`."""

import hashlib
import json
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Annotated, Any

from pydantic import Field, field_validator

from benchmarks.published import get_published, published_names
from benchmarks.report.inputs import BenchmarkResult, ContaminationResult, ModelResult, ReportInputs, SuiteInfo
from benchmarks.report.inputs import Protocol as ReportProtocol
from benchmarks.report.rules import prompt_text, published_rules, rules_of
from hpt_core import verifiers
from hpt_core.artifacts import Cost
from hpt_core.base import NOT_IDENTITY, Frozen
from hpt_core.code import code_of_packages
from hpt_core.errors import near
from hpt_core.rollout.base import Sampling
from hpt_core.verifiers.base import Verifier
from tasks import benchmark, contamination, evaluate, train
from tasks.execution.artifact import Artifact, Artifacts, Job, Stage, Step, Target
from tasks.execution.config import PipelineConfig
from tasks.execution.context import Context
from tasks.execution.keys import MODEL, PREPARED, ArtifactKey, Output, Reference, StageKey
from tasks.execution.kind import StageKind, Summary

REPORT = Output("report", "")
"""The whole output: tables/, site/ and leaderboard.md."""


class Config(Frozen):
    """Tables and leaderboard: `[report]`."""

    title: str = "HPT leaderboard"
    """Title of the page."""
    published: str | None = None
    """Published results to show next to the measured ones: "qwen2.5-math-7b", "llama-3.1-8b" or "qwen2.5-math-1.5b"."""
    baseline: Annotated[StageKey | None, Reference(MODEL)] = None
    """The model that the others are compared with. None is the first evaluated model."""
    overlap_ngram: int = Field(13, ge=1)
    """Words per n-gram when measuring how much of the benchmarks appears in training data. Decontamination uses the
    data's own `ngram`."""
    overlap_share: float = Field(0.2, gt=0, le=1)
    """A question counts as overlapping if training questions, or demonstrations, contain at least this share of its
    n-grams. Stock phrases alone account for a few percent (2 to 8 % in AIME)."""
    max_overlap: Annotated[float | None, NOT_IDENTITY] = Field(None, ge=0, le=1)
    """Largest share of a benchmark's questions that may overlap a model's training data. Above it, nothing is
    published. None always publishes, and the affected scores are marked."""

    @field_validator("published")
    @classmethod
    def _published_exists(cls, value: str | None) -> str | None:
        if value is not None and value not in published_names():
            raise ValueError(f"there are no published results {value!r}; {near(value, published_names())}")
        return value


@dataclass(frozen=True)
class Contents:
    """The contents of the page."""

    pipeline: str
    config: Config
    protocol: evaluate.EvaluationPlan
    methods: dict[StageKey, str | None]
    """Models in row order -> the algorithm or kind of stage that produced them; None for a base model."""
    trained_on: dict[StageKey, tuple[StageKey, ...]]
    """Model -> the data that it and its ancestors were trained on."""
    logs: tuple[StageKey, ...]
    """Models with a training log."""
    labels: dict[StageKey, str]
    """Models whose label is not their stage's name -> the label."""
    missing: tuple[StageKey, ...] = ()
    """Models that could not be measured, because a stage failed."""
    unchecked: tuple[ArtifactKey, ...] = ()
    """Overlaps of training data that could not be checked."""
    overrides: tuple[str, ...] = ()
    """What the run changes in the pipeline."""

    @property
    def pairs(self) -> list[tuple[StageKey, evaluate.Measurement]]:
        """Every pair of model and benchmark."""
        return [(model, m) for model in self.methods for m in self.protocol.measurements]

    def without(self, missing: Collection[StageKey]) -> "Contents":
        """The contents without these models, which could not be measured. Their order stays."""
        if not missing:
            return self
        kept = {model: method for model, method in self.methods.items() if model not in missing}
        baseline = self.config.baseline
        return replace(
            self,
            config=self.config.model_copy(update={"baseline": None if baseline in missing else baseline}),
            methods=kept,
            trained_on={model: data for model, data in self.trained_on.items() if model in kept},
            logs=tuple(model for model in self.logs if model in kept),
            missing=tuple(model for model in self.methods if model in missing),
        )

    @property
    def checked(self) -> list[tuple[StageKey, ArtifactKey]]:
        """(data, key of the overlaps) of every pair of training data and benchmark that is checked for overlap."""
        data = dict.fromkeys(key for keys in self.trained_on.values() for key in keys)
        return [
            (key, ArtifactKey(contamination.KIND.key(key.name), part=m.suite.name))
            for key in data
            for m in self.protocol.measurements
        ]

    @property
    def notes(self) -> tuple[str, ...]:
        """Sentences shown under the title."""
        limit, found = self.protocol.config.limit, []
        if self.overrides:
            found.append(f"A run with changes to the pipeline: {', '.join(self.overrides)}.")
        if limit is not None:
            found.append(f"At most {limit} questions of each benchmark were asked.")
        if self.missing:
            found.append(f"Not measured, because a stage failed: {', '.join(map(str, self.missing))}.")
        if self.unchecked:
            data = dict.fromkeys(f"data.{key.stage.name}" for key in self.unchecked)
            found.append(f"Not checked for overlap, because that stage failed: {', '.join(data)}.")
        return tuple(found)

    def as_json(self) -> dict[str, Any]:
        """The values that enter the fingerprint."""
        return {
            "pipeline": self.pipeline,
            **self.config.identity(),
            "baseline": self.config.baseline and str(self.config.baseline),
            "notes": list(self.notes),
            "limit": self.protocol.config.limit,
            "models": [[str(model), method] for model, method in self.methods.items()],
            **({"labels": {str(model): label for model, label in self.labels.items()}} if self.labels else {}),
            "suites": [m.suite.name for m in self.protocol.measurements],
            "trained_on": {str(model): list(map(str, data)) for model, data in self.trained_on.items()},
        }


SOURCES = (
    "benchmarks.report",
    "benchmarks.catalog.paired",
    "benchmarks.curves",
    "benchmarks.figures",
    "benchmarks.markdown",
    "benchmarks.significance",
    "hpt_core.evaluation.metrics",
    "hpt_core.evaluation.consistency",
    "hpt_core.texts",
)
"""Packages and modules whose code determines the report."""


class ReportStep(Step):
    """Parquet tables, leaderboard.md and the page."""

    kind = "report"
    produces = (REPORT,)

    def __init__(self, stage: StageKey, contents: Contents) -> None:
        super().__init__(stage)
        self.contents = contents

    def targets(self, artifacts: Artifacts, context: Context) -> list[Target]:
        """One target, which depends on all questions, samples, verdicts, training logs and overlaps."""
        contents = self._measured(artifacts)
        found: list[tuple[StageKey | ArtifactKey, Output]] = []
        found += [(m.questions, benchmark.ASKED) for m in contents.protocol.measurements]
        found += [(key, contamination.OVERLAPS) for _, key in contents.checked if key not in contents.unchecked]
        for model, m in contents.pairs:
            stage = evaluate.KIND.stage_of(model)
            found.append((evaluate.samples_key(stage, m.suite.name), evaluate.SAMPLES))
            for grader in (None, *m.settings.graders):
                found.append((evaluate.verdicts_key(stage, m.suite.name, grader), evaluate.VERDICTS))
        found += [(model, train.LOG) for model in contents.logs]
        inputs = {str(key): (artifacts[key], output) for key, output in found}
        versions = {"report": code_of_packages(*SOURCES)}
        if contents.config.published:
            versions["published"] = code_of_packages("benchmarks.published")
        return [self.target(contents.as_json() | self._shown(contents, artifacts), inputs, versions)]

    def _measured(self, artifacts: Artifacts) -> Contents:
        """The contents without the models of which a stage failed."""
        contents = self.contents
        missing = {
            model
            for model, m in contents.pairs
            if not _has(artifacts, evaluate.verdicts_key(evaluate.KIND.stage_of(model), m.suite.name))
        }
        contents = contents.without(missing)
        return replace(contents, unchecked=tuple(key for _, key in contents.checked if not _has(artifacts, key)))

    def _shown(self, contents: Contents, artifacts: Artifacts) -> dict[str, Any]:
        """Protocols and benchmarks as the tables show them, because a new protocol may give identical verdicts."""
        suites = [self._suite(m).model_dump(mode="json", exclude={"questions"}) for m in self._measurements]
        protocols = [self._protocol(*pair, artifacts).model_dump(mode="json") for pair in contents.pairs]
        graders = {m.suite.name: list(map(_label, m.settings.graders)) for m in self._measurements}
        return {"protocols": protocols, "benchmarks": suites} | ({"graders": graders} if any(graders.values()) else {})

    def make(self, jobs: Sequence[Job], artifacts: Artifacts, context: Context) -> Cost:
        """Run the worker."""
        (job,) = jobs
        contents = self._measured(artifacts)
        config = contents.config
        spec = ReportInputs(
            title=config.title,
            pipeline=contents.pipeline,
            published=config.published,
            baseline=config.baseline and str(config.baseline),
            models=tuple(self._model(model, contents, artifacts) for model in contents.methods),
            suites=tuple(
                self._suite(m).model_copy(update={"questions": artifacts[m.questions].path(benchmark.ASKED)})
                for m in self._measurements
            ),
            contamination=tuple(
                ContaminationResult(
                    data=str(data), benchmark=key.part, path=artifacts[key].path(contamination.OVERLAPS)
                )
                for data, key in contents.checked
                if key not in contents.unchecked
            ),
            overlap_share=config.overlap_share,
            overlap_ngram=config.overlap_ngram,
            measured_until=self._ended(contents, artifacts, context),
            notes=contents.notes,
            output=job.slot.output,
        )
        return context.worker(self.stage, "benchmarks.report.build", spec, [job.slot])

    @property
    def _measurements(self) -> tuple[evaluate.Measurement, ...]:
        return self.contents.protocol.measurements

    def _suite(self, m: evaluate.Measurement) -> SuiteInfo:
        """The benchmark with the chosen protocol, and with that of the published numbers in its column."""
        suite, name = m.suite, self.contents.config.published
        table = name and get_published(name)
        return SuiteInfo(
            name=suite.name,
            title=suite.title,
            group=table.group_of(suite.name, suite.group) if table else suite.group,
            rows=suite.rows,
            gated=suite.gated,
            data=suite.source.origin,
            rules=rules_of(self.contents.protocol.config.protocol, suite, m.protocol),
            published=published_rules(table, suite, m.protocol.prompt, m.protocol.seed) if table else None,
        )

    def _model(self, model: StageKey, contents: Contents, artifacts: Artifacts) -> ModelResult:
        return ModelResult(
            name=str(model),
            label=contents.labels.get(model, model.name),
            algorithm=contents.methods[model],
            results={m.suite.name: self._result(model, m, artifacts) for m in contents.protocol.measurements},
            train_log=artifacts[model].path(train.LOG) if model in contents.logs else None,
            trained_on=tuple(map(str, contents.trained_on.get(model, ()))),
        )

    def _result(self, model: StageKey, m: evaluate.Measurement, artifacts: Artifacts) -> BenchmarkResult:
        stage = evaluate.KIND.stage_of(model)
        samples = artifacts[evaluate.samples_key(stage, m.suite.name)]
        return BenchmarkResult(
            samples=samples.path(evaluate.SAMPLES),
            verdicts=artifacts[evaluate.verdicts_key(stage, m.suite.name)].path(evaluate.VERDICTS),
            others={
                _label(grader): artifacts[evaluate.verdicts_key(stage, m.suite.name, grader)].path(evaluate.VERDICTS)
                for grader in m.settings.graders
            },
            protocol=self._protocol(model, m, artifacts).model_copy(update=_recorded(samples)),
        )

    def _protocol(self, model: StageKey, m: evaluate.Measurement, artifacts: Artifacts) -> ReportProtocol:
        """The protocol of a score, as far as it is known before sampling."""
        p, suite, s = self.contents.protocol, m.suite, m.settings
        return ReportProtocol(
            protocol=p.config.protocol.title,
            prompt=prompt_text(s),
            sampling=s.sampling,
            max_total_tokens=s.max_total_tokens,
            from_model=bool(m.from_model),
            k=s.k,
            engine_version=p.engine_version,
            engine=json.dumps(p.config.engine.identity()),
            dtype=p.config.dtype,
            model_hash=artifacts[model].hash(MODEL),
            benchmark_hash=artifacts[m.questions].hash(benchmark.ASKED),
            grader_version=verifiers.version(suite.kind),
            grade_timeout_s=p.config.grade_timeout_s,
            seed=s.seed,
            seeds=s.seeds,
            limit=p.config.limit if p.config.limit and p.config.limit < suite.rows else None,
        )

    @staticmethod
    def _ended(contents: Contents, artifacts: Artifacts, context: Context) -> datetime:
        """When the last verdicts were finished."""
        keys = [evaluate.verdicts_key(evaluate.KIND.stage_of(model), m.suite.name) for model, m in contents.pairs]
        graded = [artifacts[key] for key in keys]
        manifests = [context.store.slot(a.kind, a.fingerprint).manifest() for a in graded]
        return max(m.end for m in manifests if m).replace(microsecond=0)


def _has(artifacts: Artifacts, key: ArtifactKey) -> bool:
    """Whether the stage of the artifact has not failed."""
    try:
        return bool(artifacts[key])
    except KeyError:
        return False


def _label(grader: Verifier) -> str:
    """Name of a further grader in the report. Two graders may have the same version, so the name is included."""
    return f"{grader.name} ({grader.version})"


def _recorded(samples: Artifact) -> dict[str, Any]:
    """Protocol fields that only the samples' files record, if they do.

    These are the engine's version, which an endpoint's config does not contain, the hash of a rendered prompt, and
    sampling options of the model's own.
    """
    try:
        recorded = json.loads(samples.file("sampling.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    found: dict[str, Any] = {}
    if recorded.get("from_model"):
        found["sampling"] = Sampling.model_validate(recorded["sampling"])
    if engines := recorded.get("engines"):
        found["engine_version"] = ", ".join(engines)
    if example := recorded.get("prompt_example"):
        found["prompt_hash"] = f"sha256:{hashlib.sha256(example.encode()).hexdigest()}"
    return found


class Report(StageKind):
    """Tables and leaderboard."""

    config = Config
    table = (Config, Config())
    order = 70
    is_cheap = True
    command = ("report", "Build the tables and the leaderboard")
    boards = (ReportStep.kind,)
    shows_measured = True

    def check(self, pipeline: PipelineConfig) -> None:
        """The baseline must be evaluated, and `max_overlap` requires a trained model."""
        config, evaluation = self.of(pipeline), evaluate.KIND.of(pipeline)
        if evaluation is None:
            return
        if config.baseline is not None and config.baseline not in evaluation.models:
            hint = near(str(config.baseline), tuple(map(str, evaluation.models)))
            raise ValueError(f"report.baseline: {str(config.baseline)!r} is not evaluated; {hint}")
        trained = any(pipeline.lineage(model, PREPARED) for model in evaluation.models)
        if config.max_overlap is not None and not trained:
            raise ValueError(
                f"report.max_overlap is {config.max_overlap:g}, but this config trains no model of evaluate.models, so "
                "nothing would be checked; add a train.NAME to evaluate.models, or remove report.max_overlap"
            )

    def without_effect(self, pipeline: PipelineConfig) -> Iterator[str]:
        """Settings of a report that is not built, and a limit that stops no publication."""
        from tasks import publish  # it imports this module

        config = self.of(pipeline)
        if evaluate.KIND.of(pipeline) is None:
            if config != Config():
                yield f"{self.name} is not built, because nothing is evaluated; add a table [evaluate]"
        elif config.max_overlap is not None and not publish.KIND.of(pipeline):
            yield f"{self.name}.max_overlap stops nothing, because nothing is published; add [[publish]], or remove it"
        elif config.max_overlap == 1:
            yield f"{self.name}.max_overlap is 1, which no overlap exceeds; lower it, or remove it"

    def stages(self, pipeline: PipelineConfig) -> Iterable[Stage]:
        """`report`, if the pipeline evaluates anything."""
        evaluation = evaluate.KIND.of(pipeline)
        if evaluation is None:
            return
        models = evaluation.models
        lineage = {model: pipeline.lineage(model, PREPARED) for model in models}
        contents = Contents(
            pipeline=pipeline.name,
            config=self.of(pipeline),
            protocol=evaluate.EvaluationPlan.of(pipeline, evaluation),
            methods={model: _method(pipeline, model) for model in models},
            trained_on={model: data for model, data in lineage.items() if data},
            labels={m: pipeline.label_of(m) for m in models if pipeline.label_of(m) != m.name},
            logs=tuple(model for model in models if train.LOG in pipeline.kind_of(model).produces),
            overrides=pipeline.overrides,
        )
        # Contamination comes first, so that its warning appears before hours are spent on training.
        checked = dict.fromkeys(key.stage for _, key in contents.checked)
        evaluated = [evaluate.KIND.stage_of(model) for model in models]
        asked = [m.questions for m in contents.protocol.measurements]
        yield Stage(
            self.key(),
            # Not the models themselves: an evaluation comes after its model.
            (*checked, *evaluated, *asked),
            (ReportStep(self.key(), contents),),
            optional=frozenset(checked),
            one_of=frozenset(evaluated),
        )

    def show(self, artifact: Artifact) -> Summary:
        """The leaderboard and the path of its page."""
        artifact.file("tables/scores.parquet")
        report = artifact.file("leaderboard.md").parent
        page = artifact.where("site/index.html")
        return Summary(f"page: {page}", {"page": page, "tables": artifact.where("tables")}, report)


def _method(pipeline: PipelineConfig, model: StageKey) -> str | None:
    """The algorithm or the kind of stage that produced a model; None for a base model."""
    if not pipeline.inputs(model, MODEL):
        return None
    algorithm = getattr(pipeline.config_of(model), "algorithm", None)
    return model.kind if algorithm is None else str(algorithm.name)


KIND = Report()
