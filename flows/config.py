"""The pipeline's config: a named graph of stages, read from TOML."""

from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from pydantic import ConfigDict, Field, field_validator, model_validator

from benchmarks.published import published_names
from benchmarks.suite import suite_names
from flows.variants import expand
from hpt_core.base import Frozen
from hpt_core.data.config import DataConfig
from hpt_core.evaluation.budget import Budget
from hpt_core.models.materialize import ModelConfig
from hpt_core.plugins import config_union, near
from hpt_core.rollout.base import StopRepetition
from hpt_core.training.config import TrainConfig

if TYPE_CHECKING:
    from benchmarks.publishers.base import PublisherConfig
    from hpt_core.prompts.base import PromptConfig
    from hpt_core.rollout.base import EngineConfig
    from hpt_core.trackers.base import TrackerConfig
else:
    from hpt_core.prompts.base import PromptConfig
    from hpt_core.rollout.base import EngineConfig
    from hpt_core.trackers.base import TrackerConfig

    PublisherConfig = config_union("benchmarks.publishers")


class Variant(Frozen):
    """One entry of a sweep: `[[train.NAME.variants]]`; any field of the stage, over the stage's own."""

    model_config = ConfigDict(extra="allow")

    name: str
    """Makes the stage `train.NAME_<name>`."""


class TrainStage(TrainConfig):
    """A training stage: `[train.NAME]`, and a sweep over it. A config that was read has its variants as stages."""

    variants: tuple[Variant, ...] = Field(default=(), exclude=True)
    """Further stages like this one, each with a name and the fields in which it differs."""
    variants_only: bool = Field(default=False, exclude=True)
    """Leave out the stage itself and keep its variants."""


class EvaluateConfig(Frozen):
    """Which models are measured on which benchmarks: `[evaluate]`."""

    models: tuple[str, ...] = Field(min_length=1)
    """`model.NAME` and `train.NAME`, in the order of the leaderboard's rows; `train.hpt*` stands for all that match, in
    the config's order."""
    suites: tuple[str, ...] = Field(min_length=1)
    """Benchmarks, by name."""
    engine: EngineConfig = Field(default="vllm", validate_default=True)
    """Who draws the samples."""
    dtype: Literal["float32", "bfloat16"] = "bfloat16"
    """Compute precision of the engine."""
    limit: int | None = Field(None, ge=1)
    """Questions of each benchmark at most: the first ones in a fixed order by hash. Scores are marked as limited."""
    k: int | None = Field(None, ge=1)
    """Overrides every benchmark's number of samples a question."""
    max_tokens: int | None = Field(None, ge=1)
    """Overrides every benchmark's new tokens at most."""
    temperature: float | None = Field(None, ge=0)
    """Overrides every benchmark's temperature."""
    shard_samples: int = Field(512, ge=1)
    """Samples of one Parquet shard, rounded up to whole questions."""
    grade_timeout_s: float = Field(5.0, gt=0)
    """Seconds that one comparison may take."""
    stop_repetition: StopRepetition | None = None
    """Ends responses that repeat themselves without end, and records it: `{}` for the usual limits. None lets them run
    to their last token, as the benchmarks' own protocol does."""
    seed: int | None = None
    """Overrides the pipeline's seed for sampling."""
    budget: Budget = Budget()
    """What the samples of each model may cost, in tokens, hours or money; never part of a fingerprint."""


class ReportConfig(Frozen):
    """Tables and leaderboard: `[report]`."""

    title: str = "HPT leaderboard"
    """Title of the page."""
    published: str | None = None
    """Published results to show beside the measured ones: "qwen2.5-math-7b", "llama-3.1-8b" or "qwen2.5-math-1.5b"."""
    baseline: str | None = None
    """Row that the others are compared with; the first evaluated model where None."""
    overlap_ngram: int = Field(13, ge=1)
    """Words of the n-grams by which benchmark questions are looked for in training data; the data's own `ngram` is that
    of their decontamination."""
    overlap_share: float = Field(0.2, gt=0, le=1)
    """Share of a question's n-grams that must stand in training questions, or in demonstrations, for it to count as
    overlapping. Stock phrases alone make a few percent (2 to 8 % in AIME)."""
    max_overlap: float | None = Field(None, ge=0, le=1)
    """Largest share of a benchmark's questions that may overlap the training data of a model: with more, nothing is
    published. None publishes whatever was found; the numbers are marked."""


class ResourcesConfig(Frozen):
    """What the machine lends to the run; never part of a fingerprint."""

    parallel_stages: int = Field(1, ge=1)
    """Heavy stages that run at the same time."""
    workers: int = Field(2, ge=1)
    """Verifier processes of a stage."""
    threads: int | None = Field(None, ge=1)
    """Torch threads of a training process; None shares out every core that the stage may use."""
    processes: int | None = Field(None, ge=1)
    """Training processes on this machine; None is one for each GPU that is visible, and one where there is none."""
    launcher: str | None = Field(None, min_length=1)
    """Command that starts the training processes, in place of torchrun on this machine: `-m MODULE SPEC` is put behind
    it. Words are split as a shell does; $NAME is the environment's."""
    slices: int | None = Field(None, ge=1)
    """Parts that a model's questions are drawn in, side by side. None is one for each GPU that is visible, and one
    where there is none; on a Ray cluster one for each of its GPUs, or nodes."""
    ray: str | None = Field(None, min_length=1)
    """Address of a Ray cluster that draws the slices, such as "10.0.0.1:6379" or "auto"; this machine where None. Its
    nodes have this package, and see the store at the same path."""
    stage_timeout_s: float | None = Field(None, gt=0)
    """Seconds after which a stage's worker is ended and the stage fails."""


class PipelineConfig(Frozen):
    """A whole pipeline; the parameter of the pipeline flow."""

    name: str = Field(pattern=r"^[a-z0-9][a-z0-9._-]*$")
    """Names the run in the page and in Prefect."""
    seed: int = 0
    """The seed every other seed is derived from."""
    store: str = "runs"
    """Folder (or fsspec URL) of the stages' outputs."""
    data_dir: Path | None = None
    """Folder with local copies of benchmarks and training data; the environment's HPT_DATA where None, and Hub
    sources where that is unset too."""
    prompt: PromptConfig = Field(default="chat", validate_default=True)
    """How questions are put: the same for data preparation, rollouts and evaluation."""
    model: dict[str, ModelConfig] = Field(min_length=1)
    """Models to start from."""
    data: dict[str, DataConfig] = {}
    """Training questions."""
    train: dict[str, TrainStage] = {}
    """Training stages."""
    evaluate: EvaluateConfig | None = None
    """Evaluation."""
    report: ReportConfig = ReportConfig()
    """Tables and leaderboard."""
    publish: tuple[PublisherConfig, ...] = ()
    """Where the leaderboard goes at the end of the pipeline."""
    trackers: tuple[TrackerConfig, ...] = Field(
        default_factory=lambda: ("tensorboard",) if find_spec("tensorboard") else (), validate_default=True
    )
    """Where training logs are mirrored to while a stage runs; never part of a fingerprint. TensorBoard, in the stage's
    folder, where it is installed."""
    resources: ResourcesConfig = ResourcesConfig()
    """What the machine lends to the run."""

    @model_validator(mode="before")
    @classmethod
    def _sweeps_become_stages(cls, data: Any) -> Any:
        return expand(data) if isinstance(data, dict) else data

    @field_validator("evaluate")
    @classmethod
    def _suites_exist(cls, value: EvaluateConfig | None) -> EvaluateConfig | None:
        for name in value.suites if value else ():
            if name not in suite_names():
                raise ValueError(f"unknown benchmark {name!r}; {near(name, suite_names())}")
        for names in (value.models, value.suites) if value else ():
            if twice := [name for name in names if names.count(name) > 1]:
                raise ValueError(f"{twice[0]!r} is given twice; name it once")
        return value

    @field_validator("report")
    @classmethod
    def _published_exists(cls, value: ReportConfig) -> ReportConfig:
        if value.published is not None and value.published not in published_names():
            raise ValueError(
                f"there are no published results {value.published!r}; {near(value.published, published_names())}"
            )
        return value

    @model_validator(mode="after")
    def _references_hold(self) -> "PipelineConfig":
        models = tuple(f"model.{n}" for n in self.model) + tuple(f"train.{n}" for n in self.train)
        data = tuple(f"data.{n}" for n in self.data)
        both = sorted(set(self.model) & set(self.train))
        if both:
            raise ValueError(f"{both[0]!r} names a model and a training stage; rename one")

        def known(where: str, reference: str, among: tuple[str, ...]) -> None:
            if reference not in among:
                raise ValueError(f"{where}: {reference!r} does not exist; {near(reference, among)}")

        for name, d in self.data.items():
            known(f"data.{name}.model", d.model, tuple(f"model.{n}" for n in self.model))
            for suite in d.decontaminate:
                known(f"data.{name}.decontaminate", suite, suite_names())
        for name, t in self.train.items():
            known(f"train.{name}.from", t.from_, models)
            known(f"train.{name}.data", t.data, data)
            self._no_cycle(name)
        for reference in self.evaluate.models if self.evaluate else ():
            known("evaluate.models", reference, models)
        if self.report.baseline is not None and self.evaluate:
            known("report.baseline", self.report.baseline, self.evaluate.models)
        self._gate_has_something_to_check()
        for name in self.train:
            self._tokens_are_counted_as_trained(name)
        return self

    def root(self, reference: str) -> str:
        """`model.NAME` that a model `model.NAME` or `train.NAME` was made of."""
        while reference.startswith("train."):
            reference = self.train[reference.removeprefix("train.")].from_
        return reference

    def _gate_has_something_to_check(self) -> None:
        gate, models = self.report.max_overlap, self.evaluate.models if self.evaluate else ()
        if gate is not None and models and not any(reference.startswith("train.") for reference in models):
            raise ValueError(
                f"report.max_overlap is {gate:g}, but no model of evaluate.models is trained here, so nothing would be "
                "checked; add a train.NAME to evaluate.models, or leave report.max_overlap out"
            )

    def _tokens_are_counted_as_trained(self, name: str) -> None:
        train = self.train[name]
        root, counted = self.root(train.from_), self.data[train.data.removeprefix("data.")].model
        if root != counted:
            raise ValueError(
                f"train.{name} starts from {root!r}, and {train.data}.model is {counted!r}: its tokens are those of "
                f"another tokenizer; set {train.data}.model to {root!r}, or prepare the data once more under another "
                "name"
            )

    def _no_cycle(self, name: str) -> None:
        seen = [name]
        while (origin := self.train[seen[-1]].from_).startswith("train."):
            following = origin.removeprefix("train.")
            if following not in self.train:
                return
            if following in seen:
                raise ValueError(f"train.{name}.from: the stages {' -> '.join([*seen, following])} form a cycle")
            seen.append(following)
