"""Evaluate a model: `python -m hpt_core.evaluation.sample` generates samples, then `hpt_core.evaluation.grade` grades.

Samples and verdicts are separate artifacts, one of each per benchmark, so a new grader version reuses the samples.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Literal

import pyarrow.parquet as pq
from pydantic import Field, ValidationError, field_validator, model_validator

from benchmarks.catalog.records import Contribution
from benchmarks.protocols.base import ProtocolConfig, Settings
from benchmarks.protocols.benchmark import Benchmark
from benchmarks.suite import Suite
from hpt_core import prompts, verifiers
from hpt_core.artifacts import Cost
from hpt_core.base import NOT_IDENTITY, Frozen, overriding
from hpt_core.code import code_of
from hpt_core.errors import ConfigError
from hpt_core.evaluation.budget import Budget, Prices, Spent
from hpt_core.evaluation.estimate import UnitEstimate, read_all
from hpt_core.evaluation.grade import GradeSpec, GradeUnit
from hpt_core.evaluation.own_sampling import FIELDS, read_options
from hpt_core.evaluation.spec import SampleSpec, SampleUnit
from hpt_core.models.materialize import ModelConfig
from hpt_core.prompts.base import PromptConfig
from hpt_core.rollout.base import ONE_TOKEN, EngineConfig, Sampling
from hpt_core.verifiers.base import Verifier
from tasks import benchmark
from tasks.execution import environment, scored, slices
from tasks.execution.artifact import Artifacts, Job, Stage, Step, Target
from tasks.execution.catalog import Stored
from tasks.execution.config import PipelineConfig
from tasks.execution.context import Context
from tasks.execution.keys import MODEL, ArtifactKey, Output, Reference, StageKey
from tasks.execution.kind import StageKind, Workload
from tasks.execution.stage import check, leases
from tasks.model import model_size

SAMPLES = Output("samples", "samples")
"""Shards of samples (hpt_core.schemas.SAMPLES)."""
VERDICTS = Output("verdicts", "verdicts.parquet")
"""One row per sample (hpt_core.schemas.VERDICTS)."""


@overriding(Sampling)
class Config(Frozen):
    """The models and benchmarks to evaluate: `[evaluate]`."""

    # The samples' identity contains the unmarked fields and the resolved protocol (SampleStep); the verdicts' contains
    # grade_timeout_s. `limit` changes the questions, which are an input of both.
    models: tuple[Annotated[StageKey, Reference(MODEL)], ...] = Field(min_length=1)
    """The models: `model.NAME`, `train.NAME`, or any other stage that produces a model. Their order is that of the
    leaderboard's rows. A glob such as `train.hpt*` stands for all matches in the config's order."""
    suites: Annotated[tuple[Suite, ...], NOT_IDENTITY] = Field(min_length=1)
    """Benchmarks, by name. May be left out if the protocol names benchmarks."""
    protocol: Annotated[ProtocolConfig, NOT_IDENTITY] = Field(default="benchmark", validate_default=True)
    """How the benchmarks are measured: "benchmark" is each benchmark's own settings, "paper" is how the paper's authors
    measured. The fields below override it, and scores are marked then."""
    prompt: Annotated[PromptConfig | None, NOT_IDENTITY] = None
    """Overrides the protocol's prompt, with its system message."""
    template_arguments: Annotated[dict[str, Any], NOT_IDENTITY] = {}
    """Arguments for the chat template, beside those of the prompt: { enable_thinking = false }."""
    generation_config: Annotated[bool, NOT_IDENTITY] = False
    """Use the temperature, top_p, top_k, min_p and repetition_penalty in the model's generation_config.json, except
    where they are set here. By default the file is not used for sampling."""
    engine: EngineConfig = Field(default="vllm", validate_default=True)
    """The engine that generates the samples."""
    dtype: Literal["float32", "bfloat16"] = "bfloat16"
    """Compute precision of the engine."""
    limit: Annotated[int | None, NOT_IDENTITY] = Field(None, ge=1)
    """Maximum number of questions per benchmark: the first ones in a fixed order by hash. Scores are marked as
    limited."""
    k: Annotated[int | None, NOT_IDENTITY] = Field(None, ge=1)
    """Overrides the protocol's number of samples per question."""
    max_total_tokens: Annotated[int | None, NOT_IDENTITY] = Field(None, ge=1)
    """Overrides the protocol's limit on the tokens of prompt and response together."""
    shard_samples: Annotated[int, NOT_IDENTITY] = Field(512, ge=1)
    """Samples per Parquet shard, rounded up to whole questions."""
    grade_timeout_s: Annotated[float, NOT_IDENTITY] = Field(5.0, gt=0)
    """Seconds allowed per comparison."""
    seed: Annotated[int | None, NOT_IDENTITY] = None
    """Overrides the protocol's seed for sampling, usually the pipeline's."""
    budget: Annotated[Budget, NOT_IDENTITY] = Budget()
    """Limit on the samples of each model, in tokens, hours or money."""

    @model_validator(mode="before")
    @classmethod
    def _suites_of_the_protocol(cls, data: Any) -> Any:
        """Without `suites`, take the protocol's benchmarks."""
        if not isinstance(data, dict) or "suites" in data or "protocol" not in data:
            return data
        try:
            benchmarks = ProtocolConfig.from_value(data["protocol"]).benchmarks
        except ValueError:
            return data  # the field's own validation names the place
        return data | {"suites": benchmarks} if benchmarks else data

    @field_validator("models", "suites")
    @classmethod
    def _once_each(cls, value: tuple[Any, ...]) -> tuple[Any, ...]:
        names = [getattr(item, "name", "") if isinstance(item, Suite) else str(item) for item in value]
        if twice := [name for name in names if names.count(name) > 1]:
            raise ValueError(f"{twice[0]!r} is listed twice; list it once")
        return value


@dataclass(frozen=True)
class Measurement:
    """One benchmark with its resolved settings: the protocol's, with the config's overrides."""

    suite: Suite
    settings: Settings
    protocol: Settings
    """The settings without overrides."""
    from_model: tuple[str, ...] = ()
    """Fields of the sampler that the model's generation_config.json replaces, if it has them."""

    @property
    def questions(self) -> StageKey:
        """The stage with the benchmark's questions."""
        return benchmark.KIND.key(self.suite.name)

    @property
    def greedy(self) -> str | None:
        """The option that makes all samples of a question the same, if the model's own cannot replace it."""
        return next((name for name in self.settings.sampling.greedy if name not in self.from_model), None)

    @property
    def identity(self) -> dict[str, Any]:
        """What decides the samples, beside the model, the questions and the engine. Settings that have no effect are
        left out, as they were before they existed."""
        s = self.settings
        return {
            "prompt": s.prompt.identity(),
            "instruction": s.instruction,
            "sampling": s.sampling.identity(),
            "k": s.k,
            "seed": s.seed,
            # The seed of each sample also depends on the benchmark's name.
            "benchmark": self.suite.name,
            **({} if s.max_total_tokens is None else {"max_total_tokens": s.max_total_tokens}),
            **({} if s.seeds == "derived" else {"seeds": s.seeds}),
            **({} if not self.from_model else {"from_model": list(self.from_model)}),
        }


@dataclass(frozen=True)
class EvaluationPlan:
    """The resolved protocol of an evaluation; fingerprints are computed from it."""

    config: Config
    measurements: tuple[Measurement, ...]

    @classmethod
    def of(cls, pipeline: PipelineConfig, config: Config) -> "EvaluationPlan":
        """The protocol of a pipeline. Raises ValueError ("FIELD: CAUSE; REMEDY") if an override does not fit it."""
        return cls(config, tuple(measurement(pipeline, config, suite) for suite in config.suites))

    @property
    def engine_version(self) -> str:
        """Name and version of the engine."""
        return environment.engine_version(self.config.engine)


def measurement(pipeline: PipelineConfig, config: Config, suite: Suite) -> Measurement:
    """How a config measures a benchmark. Raises ValueError as EvaluationPlan.of does."""
    ruled = config.protocol.settings(suite, pipeline.prompt, pipeline.seed)
    try:
        # Validated again, because a protocol may have put them together by model_copy.
        ruled = Settings.model_validate(dict(ruled))
    except ValidationError as error:
        raise ValueError(f"evaluate.protocol: {_message(error)}") from error
    sampling = {name: value for name in Sampling.model_fields if (value := getattr(config, name)) is not None}
    changed = {name: value for name in _OVERRIDES if (value := getattr(config, name)) is not None}
    changed |= {"sampling": ruled.sampling.model_copy(update=sampling)}
    if config.template_arguments:
        changed["prompt"] = _with_arguments(config.prompt or ruled.prompt, config.template_arguments)
    own = tuple(name for name in FIELDS if name not in sampling) if config.generation_config else ()
    return Measurement(suite, ruled.model_copy(update=changed), ruled, own)


_OVERRIDES = ("prompt", "k", "seed", "max_total_tokens")
"""Fields of Settings that [evaluate] overrides under the same name."""


def _with_arguments(prompt: PromptConfig, arguments: dict[str, Any]) -> PromptConfig:
    own = getattr(prompt, "template_arguments", None)
    if own is None:
        raise ValueError(
            f"evaluate.template_arguments: the prompt {prompt.name!r} has no chat template; remove them, or set "
            'evaluate.prompt = "chat"'
        )
    try:
        return type(prompt).model_validate({**dict(prompt), "template_arguments": {**own, **arguments}})
    except ValidationError as error:
        raise ValueError(f"evaluate.template_arguments: {_message(error)}") from error


def _message(error: ValidationError) -> str:
    return error.errors()[0]["msg"].removeprefix("Value error, ")


class SampleStep(Step):
    """Samples of one model on every benchmark. One run of the engine generates all missing samples."""

    kind = "samples"
    version = "2"  # a response begins with the <think> of its prompt
    produces = (SAMPLES,)
    keeps_output = True
    heavy = True
    mends = True

    def __init__(
        self, stage: StageKey, model: StageKey, protocol: EvaluationPlan, root: tuple[StageKey, ModelConfig]
    ) -> None:
        """`root` is the base model that `model` was trained from, with its config."""
        super().__init__(stage)
        self.model = model
        self.protocol = protocol
        self.root = root

    def targets(self, artifacts: Artifacts, context: Context) -> list[Target]:
        """One target per benchmark."""
        return [self._target(m, artifacts) for m in self.protocol.measurements]

    def _target(self, m: Measurement, artifacts: Artifacts) -> Target:
        p = self.protocol
        inputs = {"model": (artifacts[self.model], MODEL), "questions": (artifacts[m.questions], benchmark.ASKED)}
        versions = {"engine": p.engine_version, "prompts": str(prompts.VERSION)}
        # The default protocol only hands on what benchmark and pipeline say, so its own code is left out.
        protocol = () if type(p.config.protocol) is Benchmark else (p.config.protocol,)
        code = code_of(m.settings.prompt, p.config.engine, protocol)
        key = samples_key(self.stage, m.suite.name)
        return self.target(p.config.identity() | m.identity, inputs, versions | code, key)

    def make(self, jobs: Sequence[Job], artifacts: Artifacts, context: Context) -> Cost:
        """Generate all missing samples: in one process, in slices on this machine, or on a Ray cluster."""
        return slices.sample(self.stage, self.spec(jobs, artifacts), [job.slot for job in jobs], context)

    def facts(self, job: Job) -> dict[str, Any]:
        """Tokens of the samples and of their prompts."""
        table = pq.read_table(job.slot.output / SAMPLES.path, columns=["tokens", "prompt_tokens"])
        return {name: sum(table.column(name).to_pylist()) for name in table.column_names}

    def work(self, config: Any) -> float:
        """Samples per question."""
        return float(config["k"])

    def devices(self, context: Context) -> int | None:
        """One per slice; unknown behind an endpoint, and on a Ray cluster that chooses their number."""
        if not self.protocol.config.engine.LOCAL:
            return None
        return context.resources.slices if context.resources.ray else environment.devices(context.resources.slices)

    def prices(self, context: Context) -> Prices:
        """The budget's, if it has any."""
        return self.protocol.config.budget.prices or context.resources.prices

    def spent(self, facts: Mapping[str, Any], device_seconds: float) -> Spent:
        """The samples' tokens, too."""
        return Spent(facts["tokens"], facts["prompt_tokens"], device_seconds)

    def spec(self, jobs: Sequence[Job], artifacts: Artifacts) -> SampleSpec:
        """The worker's spec."""
        by_name = {m.suite.name: m for m in self.protocol.measurements}
        units = [
            SampleUnit(
                benchmark=m.suite.name,
                questions=artifacts[m.questions].path(benchmark.ASKED),
                prompt=m.settings.prompt,
                instruction=m.settings.instruction,
                sampling=m.settings.sampling,
                max_total_tokens=m.settings.max_total_tokens,
                from_model=m.from_model,
                k=m.settings.k,
                seed=m.settings.seed,
                seeds=m.settings.seeds,
                output=job.slot.output,
                work=job.slot.work,
            )
            for job in jobs
            for m in (by_name[job.target.key.part],)
        ]
        config = self.protocol.config
        return SampleSpec(
            model=artifacts[self.model].path(MODEL),
            engine=config.engine,
            dtype=config.dtype,
            shard_samples=config.shard_samples,
            units=tuple(units),
            budget=config.budget,
        )

    def preflight(self, artifacts: Artifacts, context: Context) -> int:
        """Check the engine, the model, the prompt and the context length."""
        self.protocol.config.engine.check()
        size = model_size(*self.root, artifacts)
        self.protocol.config.engine.check_model(size.config)
        for m in self.protocol.measurements:
            size.require_prompt(m.settings.prompt)
            if m.from_model and size.folder is not None:
                read_options(size.folder)
            total, new = m.settings.max_total_tokens, m.settings.sampling.max_tokens
            if total is not None and total <= new:
                size.require_context(f"evaluate.max_total_tokens of {m.suite.name}", total)
            else:
                size.require_room(f"evaluate.max_tokens of {m.suite.name}", new)
        return 0


class GradeStep(Step):
    """Verdicts of one model on every benchmark: of its own verifier, and of each further grader of the protocol."""

    kind = "verdicts"
    produces = (VERDICTS,)

    def __init__(self, stage: StageKey, model: StageKey, protocol: EvaluationPlan) -> None:
        super().__init__(stage)
        self.model = model
        self.protocol = protocol
        self.graded = {
            verdicts_key(stage, m.suite.name, grader): (m, grader)
            for m in protocol.measurements
            for grader in (None, *m.settings.graders)
        }

    def targets(self, artifacts: Artifacts, context: Context) -> list[Target]:
        """One target per benchmark and grader."""
        return [self._target_of(key, m, grader, artifacts) for key, (m, grader) in self.graded.items()]

    def _target_of(self, key: ArtifactKey, m: Measurement, other: Verifier | None, artifacts: Artifacts) -> Target:
        config = {
            "timeout_s": self.protocol.config.grade_timeout_s,
            "k": m.settings.k,
            "benchmark": m.suite.name,
            **({} if other is None else {"grader": other.identity()}),
        }
        inputs = {
            # Two models may give the same samples; each has its own score.
            "model": (artifacts[self.model], MODEL),
            "samples": (artifacts[samples_key(self.stage, m.suite.name)], SAMPLES),
            "questions": (artifacts[m.questions], benchmark.ASKED),
        }
        grader = other or verifiers.get(m.suite.kind)
        return self.target(config, inputs, {grader.name: grader.version} | code_of(grader), key)

    def make(self, jobs: Sequence[Job], artifacts: Artifacts, context: Context) -> Cost:
        """Run the worker once for all missing verdicts."""
        units = []
        for job in jobs:
            m, other = self.graded[job.target.key]
            units.append(
                GradeUnit(
                    benchmark=m.suite.name,
                    questions=artifacts[m.questions].path(benchmark.ASKED),
                    samples=artifacts[samples_key(self.stage, m.suite.name)].path(SAMPLES),
                    k=m.settings.k,
                    grader=other,
                    output=job.slot.output / VERDICTS.path,
                )
            )
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
    then = ("publish", "publish the leaderboard if the config says so")

    def check(self, pipeline: PipelineConfig) -> None:
        """The overrides must fit the protocol, and the engine must honor the sampling options."""
        config = self.of(pipeline)
        for m in EvaluationPlan.of(pipeline, config).measurements if config else ():
            try:
                config.engine.require(m.settings.sampling)
            except ConfigError as error:
                raise ValueError(f"evaluate.engine: {error.cause}; {error.remedy}") from error

    def stage_of(self, model: StageKey) -> StageKey:
        """The stage that evaluates a model: `evaluate.NAME` for `train.NAME`."""
        return self.key(model.name)

    def workloads(self, stage: Stage, pipeline: PipelineConfig) -> Iterator[Workload]:
        """Every sample of every question."""
        for step in stage.steps:
            if isinstance(step, SampleStep):
                limit = step.protocol.config.limit
                asked = (m.settings.k * min(m.suite.rows, limit or m.suite.rows) for m in step.protocol.measurements)
                yield Workload(step.model, sum(asked))

    def without_effect(self, pipeline: PipelineConfig) -> Iterator[str]:
        """Several samples that are all the same, and sampling settings that change nothing."""
        config = self.of(pipeline)
        measurements = EvaluationPlan.of(pipeline, config).measurements if config else ()
        overridden = (m.settings.sampling for m in measurements if m.settings.sampling != m.suite.sampling)
        yield from dict.fromkeys(f"{self.name}.{text}" for sampling in overridden for text in sampling.without_effect())
        repeated: dict[str, list[str]] = {}
        for m in measurements:
            if m.settings.k > 1 and m.greedy:
                repeated.setdefault(m.greedy, []).append(m.suite.name)
        for name, same in repeated.items():
            alone = "at temperature 0" if name == "temperature" else f"with {name} = 1"
            yield (
                f"{self.name}.k: {', '.join(same)} have several samples per question, but {alone} all are the same; "
                f"set evaluate.k = 1, or another {name}"
            )
        for name in ("top_p", "top_k", "min_p") if all(m.greedy == "temperature" for m in measurements) else ():
            if config and getattr(config, name) not in (None, getattr(Sampling(), name)):
                yield f"{self.name}.{name} is {getattr(config, name)}, but {ONE_TOKEN}; remove it, or set a temperature"
        totals = [m.settings.max_total_tokens for m in measurements]
        if config and config.max_tokens and all(total and total < config.max_tokens for total in totals):
            yield (
                f"{self.name}.max_tokens is {config.max_tokens}, but prompt and response together have at most "
                f"{max(filter(None, totals))} tokens; lower it, or raise {self.name}.max_total_tokens"
            )

    def catalog(self, stored: Stored) -> Contribution:
        """Samples: their tokens. Verdicts of a benchmark's own verifier: the score, and how it was measured."""
        return scored.contribution(stored)

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


def verdicts_key(stage: StageKey, suite: str, grader: Verifier | None = None) -> ArtifactKey:
    """Key of the verdicts of a model on a benchmark: of its own verifier, or of another grader."""
    return ArtifactKey(stage, GradeStep.kind, suite if grader is None else f"{suite}@{grader.name}")


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
