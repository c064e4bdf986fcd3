"""Evaluate a model: `python -m hpt_core.evaluation.sample` generates samples, then `hpt_core.evaluation.grade` grades.

Samples and verdicts are separate artifacts, one of each per benchmark, so a new grader version reuses the samples.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Literal

import pyarrow.parquet as pq
from pydantic import Field, field_validator

from benchmarks.suite import Suite
from hpt_core import prompts, verifiers
from hpt_core.artifacts import Cost
from hpt_core.base import NOT_IDENTITY, Frozen
from hpt_core.code import code_of
from hpt_core.evaluation.budget import Budget
from hpt_core.evaluation.estimate import UnitEstimate, read_all
from hpt_core.evaluation.grade import GradeSpec, GradeUnit
from hpt_core.evaluation.spec import SampleSpec, SampleUnit
from hpt_core.models.materialize import ModelConfig
from hpt_core.prompts.base import PromptConfig
from hpt_core.rollout.base import EngineConfig, Sampling, StopRepetition
from tasks import benchmark
from tasks.execution import environment, slices
from tasks.execution.artifact import Artifacts, Job, Stage, Step, Target
from tasks.execution.config import PipelineConfig
from tasks.execution.context import Context
from tasks.execution.keys import MODEL, ArtifactKey, Output, Reference, StageKey
from tasks.execution.kind import StageKind
from tasks.execution.stage import check, leases
from tasks.model import model_size

SAMPLES = Output("samples", "samples")
"""Shards of samples (hpt_core.schemas.SAMPLES)."""
VERDICTS = Output("verdicts", "verdicts.parquet")
"""One row per sample (hpt_core.schemas.VERDICTS)."""


class Config(Frozen):
    """The models and benchmarks to evaluate: `[evaluate]`."""

    # The samples' identity contains the unmarked fields and the resolved protocol (SampleStep); the verdicts' contains
    # grade_timeout_s. `limit` changes the questions, which are an input of both.
    models: tuple[Annotated[StageKey, Reference(MODEL)], ...] = Field(min_length=1)
    """The models: `model.NAME`, `train.NAME`, or any other stage that produces a model. Their order is that of the
    leaderboard's rows. A glob such as `train.hpt*` stands for all matches in the config's order."""
    suites: Annotated[tuple[Suite, ...], NOT_IDENTITY] = Field(min_length=1)
    """Benchmarks, by name."""
    engine: EngineConfig = Field(default="vllm", validate_default=True)
    """The engine that generates the samples."""
    dtype: Literal["float32", "bfloat16"] = "bfloat16"
    """Compute precision of the engine."""
    limit: Annotated[int | None, NOT_IDENTITY] = Field(None, ge=1)
    """Maximum number of questions per benchmark: the first ones in a fixed order by hash. Scores are marked as
    limited."""
    k: Annotated[int | None, NOT_IDENTITY] = Field(None, ge=1)
    """Overrides every benchmark's number of samples per question."""
    max_tokens: Annotated[int | None, NOT_IDENTITY] = Field(None, ge=1)
    """Overrides every benchmark's limit on new tokens."""
    temperature: Annotated[float | None, NOT_IDENTITY] = Field(None, ge=0)
    """Overrides every benchmark's temperature."""
    shard_samples: Annotated[int, NOT_IDENTITY] = Field(512, ge=1)
    """Samples per Parquet shard, rounded up to whole questions."""
    grade_timeout_s: Annotated[float, NOT_IDENTITY] = Field(5.0, gt=0)
    """Seconds allowed per comparison."""
    stop_repetition: Annotated[StopRepetition | None, NOT_IDENTITY] = None
    """Ends responses that repeat themselves endlessly, and records it; `{}` uses the default limits. None lets them run
    to the token limit, as the benchmarks' protocols do."""
    seed: Annotated[int | None, NOT_IDENTITY] = None
    """Overrides the pipeline's seed for sampling."""
    budget: Annotated[Budget, NOT_IDENTITY] = Budget()
    """Limit on the samples of each model, in tokens, hours or money."""

    @field_validator("models", "suites")
    @classmethod
    def _once_each(cls, value: tuple[Any, ...]) -> tuple[Any, ...]:
        names = [getattr(item, "name", "") if isinstance(item, Suite) else str(item) for item in value]
        if twice := [name for name in names if names.count(name) > 1]:
            raise ValueError(f"{twice[0]!r} is listed twice; list it once")
        return value


@dataclass(frozen=True)
class Measurement:
    """One benchmark with its resolved protocol: the benchmark's own, with the config's overrides."""

    suite: Suite
    sampling: Sampling
    k: int

    @property
    def questions(self) -> StageKey:
        """The stage with the benchmark's questions."""
        return benchmark.KIND.key(self.suite.name)


@dataclass(frozen=True)
class EvaluationPlan:
    """The resolved protocol of an evaluation; fingerprints are computed from it."""

    config: Config
    prompt: PromptConfig
    seed: int
    measurements: tuple[Measurement, ...]

    @classmethod
    def of(cls, pipeline: PipelineConfig, config: Config) -> "EvaluationPlan":
        """The protocol of a pipeline."""
        names = ("max_tokens", "temperature", "stop_repetition")
        overrides = {name: value for name in names if (value := getattr(config, name)) is not None}
        measurements = tuple(
            Measurement(suite, suite.sampling.model_copy(update=overrides), config.k or suite.k)
            for suite in config.suites
        )
        return cls(config, pipeline.prompt, pipeline.seed if config.seed is None else config.seed, measurements)

    @property
    def engine_version(self) -> str:
        """Name and version of the engine."""
        return environment.engine_version(self.config.engine)


class _MeasuringStep(Step):
    """Base of the two steps: one artifact per benchmark."""

    def __init__(self, stage: StageKey, model: StageKey, protocol: EvaluationPlan) -> None:
        super().__init__(stage)
        self.model = model
        self.protocol = protocol
        self.by_name = {m.suite.name: m for m in protocol.measurements}

    def targets(self, artifacts: Artifacts, context: Context) -> list[Target]:
        """One target per benchmark."""
        return [self._target(m, artifacts) for m in self.protocol.measurements]

    def _target(self, m: Measurement, artifacts: Artifacts) -> Target:
        raise NotImplementedError

    def _measured(self, jobs: Sequence[Job]) -> list[tuple[Job, Measurement]]:
        return [(job, self.by_name[job.target.key.part]) for job in jobs]


class SampleStep(_MeasuringStep):
    """Samples of one model on every benchmark. One run of the engine generates all missing samples."""

    kind = "samples"
    produces = (SAMPLES,)
    keeps_output = True
    mends = True

    def __init__(
        self, stage: StageKey, model: StageKey, protocol: EvaluationPlan, root: tuple[StageKey, ModelConfig]
    ) -> None:
        """`root` is the base model that `model` was trained from, with its config."""
        super().__init__(stage, model, protocol)
        self.root = root

    def _target(self, m: Measurement, artifacts: Artifacts) -> Target:
        p = self.protocol
        config = p.config.identity() | {
            "prompt": p.prompt.identity(),
            "instruction": m.suite.instruction,
            "sampling": m.sampling.identity(),
            "k": m.k,
            "seed": p.seed,
            # The seed of each sample also depends on the benchmark's name.
            "benchmark": m.suite.name,
        }
        inputs = {"model": (artifacts[self.model], MODEL), "questions": (artifacts[m.questions], benchmark.ASKED)}
        versions = {"engine": p.engine_version, "prompts": str(prompts.VERSION)}
        key = samples_key(self.stage, m.suite.name)
        return self.target(config, inputs, versions | code_of(p.prompt, p.config.engine), key)

    def make(self, jobs: Sequence[Job], artifacts: Artifacts, context: Context) -> Cost:
        """Generate all missing samples: in one process, in slices on this machine, or on a Ray cluster."""
        return slices.sample(self.stage, self.spec(jobs, artifacts), [job.slot for job in jobs], context)

    def spec(self, jobs: Sequence[Job], artifacts: Artifacts) -> SampleSpec:
        """The worker's spec."""
        units = [
            SampleUnit(
                benchmark=m.suite.name,
                questions=artifacts[m.questions].path(benchmark.ASKED),
                instruction=m.suite.instruction,
                sampling=m.sampling,
                k=m.k,
                output=job.slot.output,
                work=job.slot.work,
            )
            for job, m in self._measured(jobs)
        ]
        config = self.protocol.config
        return SampleSpec(
            model=artifacts[self.model].path(MODEL),
            prompt=self.protocol.prompt,
            engine=config.engine,
            dtype=config.dtype,
            seed=self.protocol.seed,
            shard_samples=config.shard_samples,
            units=tuple(units),
            budget=config.budget,
        )

    def preflight(self, artifacts: Artifacts, context: Context) -> int:
        """Check the engine, the model, the prompt and the context length."""
        self.protocol.config.engine.check()
        size = model_size(*self.root, artifacts)
        self.protocol.config.engine.check_model(size.config)
        size.require_prompt(self.protocol.prompt)
        for m in self.protocol.measurements:
            size.require_room(f"new tokens of {m.suite.name}", m.sampling.max_tokens)
        return 0


class GradeStep(_MeasuringStep):
    """Verdicts of one model on every benchmark."""

    kind = "verdicts"
    produces = (VERDICTS,)

    def _target(self, m: Measurement, artifacts: Artifacts) -> Target:
        config = {"timeout_s": self.protocol.config.grade_timeout_s, "k": m.k, "benchmark": m.suite.name}
        inputs = {
            "samples": (artifacts[samples_key(self.stage, m.suite.name)], SAMPLES),
            "questions": (artifacts[m.questions], benchmark.ASKED),
        }
        grader = verifiers.get(m.suite.kind)
        key = verdicts_key(self.stage, m.suite.name)
        return self.target(config, inputs, {grader.name: grader.version} | code_of(grader), key)

    def make(self, jobs: Sequence[Job], artifacts: Artifacts, context: Context) -> Cost:
        """Run the worker once for all missing verdicts."""
        units = [
            GradeUnit(
                benchmark=m.suite.name,
                questions=artifacts[m.questions].path(benchmark.ASKED),
                samples=artifacts[samples_key(self.stage, m.suite.name)].path(SAMPLES),
                k=m.k,
                output=job.slot.output / VERDICTS.path,
            )
            for job, m in self._measured(jobs)
        ]
        timeout_s = self.protocol.config.grade_timeout_s
        spec = GradeSpec(workers=context.resources.workers, timeout_s=timeout_s, units=tuple(units))
        return context.worker(self.stage, "hpt_core.evaluation.grade", spec, [job.slot for job in jobs])

    def facts(self, job: Job) -> dict[str, Any]:
        """Number of samples per outcome."""
        column = pq.read_table(job.slot.output / VERDICTS.path, columns=["outcome"]).column("outcome")
        counts: Mapping[str, int] = {str(c["values"]): int(c["counts"]) for c in column.value_counts().to_pylist()}
        return {"outcomes": dict(sorted(counts.items()))}


class Evaluation(StageKind):
    """Evaluation of models on benchmarks."""

    config = Config
    table = (Config | None, None)
    order = 60
    command = ("evaluate", "Sample and grade models on the benchmarks")

    def stage_of(self, model: StageKey) -> StageKey:
        """The stage that evaluates a model: `evaluate.NAME` for `train.NAME`."""
        return self.key(model.name)

    def without_effect(self, pipeline: PipelineConfig) -> Iterator[str]:
        """Several samples that are all the same, and benchmarks' sampling settings that change nothing."""
        config = self.of(pipeline)
        measurements = EvaluationPlan.of(pipeline, config).measurements if config else ()
        overridden = (m.sampling for m in measurements if m.sampling != m.suite.sampling)
        yield from dict.fromkeys(f"{self.name}.{text}" for sampling in overridden for text in sampling.without_effect())
        if same := [m.suite.name for m in measurements if m.sampling.temperature == 0 and m.k > 1]:
            yield (
                f"{self.name}.k: {', '.join(same)} have several samples per question, but at temperature 0 all are the "
                "same; set evaluate.k = 1, or a temperature"
            )

    def stages(self, pipeline: PipelineConfig) -> Iterable[Stage]:
        """One stage per model."""
        config = self.of(pipeline)
        if config is None:
            return
        protocol = EvaluationPlan.of(pipeline, config)
        for model in config.models:
            key, root = self.stage_of(model), pipeline.root(model)
            steps = (
                SampleStep(key, model, protocol, (root, pipeline.config_of(root))),
                GradeStep(key, model, protocol),
            )
            yield Stage(key, (model, *(m.questions for m in protocol.measurements)), steps)


def samples_key(stage: StageKey, suite: str) -> ArtifactKey:
    """Key of the samples of a model on a benchmark."""
    return ArtifactKey(stage, SampleStep.kind, suite)


def verdicts_key(stage: StageKey, suite: str) -> ArtifactKey:
    """Key of the verdicts of a model on a benchmark."""
    return ArtifactKey(stage, GradeStep.kind, suite)


def pilot(step: SampleStep, artifacts: Artifacts, context: Context, questions: int) -> dict[str, UnitEstimate]:
    """Sample `questions` questions of each unfinished benchmark; the evaluation reuses these samples.

    Returns the estimates by benchmark, or nothing if all are finished. Raises HPTError.
    """

    def unfinished(among: Sequence[Target]) -> list[Target]:
        return [target for target in among if check(step, target, context).state != "done"]

    targets = unfinished(step.targets(artifacts, context))
    with leases(step.stage, targets, context):
        # An evaluation may have finished them while this process waited for the leases.
        targets = unfinished(targets)
        if not targets:
            return {}
        jobs = [Job(target, context.store.slot(target.kind, target.fingerprint)) for target in targets]
        spec = step.spec(jobs, artifacts).model_copy(update={"pilot": questions})
        slices.sample(step.stage, spec, [job.slot for job in jobs], context)
        return read_all({job.target.key.part: job.slot.work for job in jobs})


KIND = Evaluation()
