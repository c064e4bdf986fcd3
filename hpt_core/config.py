"""Configs of the stages that hpt_core runs, and the specs its worker programs read.

A stage's config is what a user writes; a spec is that config resolved: paths in place of names, seeds filled in. The
whole pipeline's config is flows.config.PipelineConfig.
"""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import Field, model_validator

from hpt_core.base import Frozen
from hpt_core.evaluation.budget import Budget
from hpt_core.plugins import config_union
from hpt_core.rollout.base import Sampling
from hpt_core.upge.estimator import Estimator

if TYPE_CHECKING:
    from hpt_core.algorithms.base import Algorithm as AlgorithmConfig
    from hpt_core.data.sources.base import SourceConfig as DataSource
    from hpt_core.models.base import ModelSourceConfig as ModelSource
    from hpt_core.prompts.base import PromptConfig
    from hpt_core.rollout.base import EngineConfig
    from hpt_core.trackers.base import TrackerConfig
else:
    AlgorithmConfig = config_union("hpt_core.algorithms")
    EngineConfig = config_union("hpt_core.rollout")
    ModelSource = config_union("hpt_core.models")
    PromptConfig = config_union("hpt_core.prompts")
    DataSource = config_union("hpt_core.data.sources")
    TrackerConfig = config_union("hpt_core.trackers")

Decay = Annotated[float, Field(ge=0, lt=1)]


class ModelConfig(Frozen):
    """A model to start from: `[model.NAME]`."""

    source: ModelSource
    """Where it comes from: hub, folder or scratch."""
    rope_theta: float | None = Field(None, gt=0)
    """Overrides the model's rotary base; 40000 for Qwen2.5-Math (training scripts)."""
    max_position_embeddings: int | None = Field(None, ge=1)
    """Overrides the model's context length; 16384 for Qwen2.5-Math (training scripts)."""


class DataConfig(Frozen):
    """Training questions to prepare: `[data.NAME]`."""

    source: DataSource
    """Where the questions come from: openr1, gsm8k, jsonl or procedural."""
    model: str
    """`model.NAME`: whose tokenizer and chat template count the tokens."""
    max_prompt_tokens: int = Field(1024, ge=1)
    """Questions with a longer prompt are dropped (training scripts: 1024)."""
    max_demonstration_tokens: int = Field(8192, ge=1)
    """Questions with a longer demonstration are dropped, since cutting it would lose its end (scripts: 8192)."""
    demonstrations: Literal["required", "optional"] = "required"
    """Whether a question without a demonstration is dropped."""
    unverified: Literal["keep", "drop", "flag"] = "drop"
    """What happens to a question whose demonstration does not verify against its gold answer: "keep" does not even
    check, "flag" keeps the row and its verdict."""
    decontaminate: tuple[str, ...] = ()
    """Benchmarks (names of benchmarks/suites) whose questions must not appear in the data."""
    ngram: int = Field(13, ge=1)
    """Length, in words, of the shared n-gram that counts as overlap."""
    limit: int | None = Field(None, ge=1)
    """Questions to keep at most, the first ones in the source's order."""


class OptimizerConfig(Frozen):
    """AdamW, as in the training scripts."""

    learning_rate: float = Field(5e-6, gt=0)
    """Peak learning rate (HPT and GRPO 5e-6; LUFFY and SRFT 1e-6)."""
    betas: tuple[Decay, Decay] = (0.9, 0.999)
    """Decay of the first and the second moment."""
    eps: float = Field(1e-8, gt=0)
    """Added to the denominator."""
    weight_decay: float = Field(0.01, ge=0)
    """Decoupled weight decay."""
    warmup_steps: int = Field(0, ge=0)
    """Steps over which the rate rises linearly from zero; constant afterwards unless `decay` says otherwise."""
    decay: Literal["constant", "cosine", "linear"] = "constant"
    """How the rate falls to zero by the last step."""
    gradient_clip: float | None = Field(1.0, gt=0)
    """Largest global gradient norm; None turns clipping off."""
    spike_limit: float | None = Field(None, gt=0)
    """An update whose gradient norm is over this is skipped and counted (80 in the Qwen HPT script)."""
    eight_bit: bool = False
    """Moments in 8 bits, by bitsandbytes, where that is installed: a quarter of their memory, and other rounding."""


class LoraConfig(Frozen):
    """Low-rank adapters (Hu 2021), by peft; the exported model has them merged. There is no dropout: the policy that is
    trained would not be the one that drew the rollouts."""

    rank: int = Field(16, ge=1)
    """Rank of an adapter."""
    alpha: float = Field(32.0, gt=0)
    """The adapter's product is scaled by alpha / rank."""
    targets: str | tuple[str, ...] = "all-linear"
    """Layers that get an adapter, by the end of their name; "all-linear" takes all but the output head."""


class ValidationConfig(Frozen):
    """Held-out questions, never trained on and never a benchmark's: the model's mean reward on them as it trains."""

    every: int = Field(10, ge=1)
    """Steps between two validations (scripts: 10); the last step's model is validated always."""
    questions: int = Field(64, ge=1)
    """Questions held out of the prepared data: the first ones in a fixed order by hash, whatever the seed."""
    samples: int = Field(1, ge=1)
    """Responses a question, drawn with the same seeds at every validation."""
    temperature: float = Field(0.6, ge=0)
    """Softmax temperature (0.6, as in the paper's evaluation)."""
    top_p: float = Field(0.95, gt=0, le=1)
    """Nucleus mass (0.95, as in the paper's evaluation)."""
    keep: Literal["last", "best"] = "best"
    """Which model the stage exports: that of the last step, or the validated one with the highest reward (the earliest
    of equals)."""


class TrainConfig(Frozen):
    """A training stage: `[train.NAME]`."""

    from_: str = Field(alias="from")
    """`model.NAME` or `train.NAME`: the model to start from."""
    data: str
    """`data.NAME`: the prepared questions. Where the algorithm may train on demonstrations, those without one are left
    out, and counted in the stage's log."""
    algorithm: AlgorithmConfig
    """What is optimized: a gate and its signals."""
    steps: int = Field(ge=1)
    """Rollout steps; each draws `questions_per_step` questions."""
    questions_per_step: int = Field(128, ge=1)
    """Questions a step (scripts: 128)."""
    rollouts_per_question: int = Field(8, ge=1)
    """Rollouts of each question, n (scripts: 8). Algorithms that use no rollouts draw none."""
    sampling: Sampling = Sampling()
    """How rollouts are drawn; max_tokens is also the constant length M of "fixed_length"."""
    engine: EngineConfig = Field(default="vllm", validate_default=True)
    """Who draws the rollouts."""
    optimizer: OptimizerConfig = OptimizerConfig()
    """AdamW and its guards."""
    minibatch_rows: int | None = Field(None, ge=1)
    """Rows of one optimizer update; None makes one update a step. 512 in the scripts (64 questions of 8 rollouts; a
    question gated to its demonstration gives one row), and the last update of a step may be ragged."""
    micro_batch_tokens: int = Field(8192, ge=1)
    """Prompt and response tokens of one forward pass at most; the gradient does not depend on it."""
    packing: bool = True
    """Lay the rows of a micro-batch end to end in place of padding them, a question's rollouts behind one copy of its
    prompt. The gradient does not depend on it. Models with windowed attention are padded in any case."""
    importance_cap: float | None = Field(None, gt=0)
    """Truncated importance correction of the engine's mismatch with the trainer: each token of a rollout counts
    min(pi_trainer / pi_engine, cap) times, both at rollout time; 2 is usual. None corrects nothing."""
    lora: LoraConfig | None = None
    """Train low-rank adapters in place of the weights."""
    validation: ValidationConfig | None = None
    """Validate on held-out questions as training goes on; None holds nothing out and exports the last step's model."""
    gradient_checkpointing: bool = False
    """Recompute the layers' activations in the backward pass: less memory, about a third more time."""
    dtype: Literal["float32", "bfloat16"] = "float32"
    """Compute precision of the trainer and of the engine; master weights are float32 always."""
    checkpoint_every: int = Field(50, ge=1)
    """Steps between checkpoints (scripts: 50). The last step is always saved."""
    keep_checkpoints: int = Field(1, ge=1)
    """Newest checkpoints to keep."""
    checkpoint_async: bool | None = None
    """Write checkpoints while training goes on, from a copy in the machine's memory; None does so where a GPU holds the
    weights."""
    seed: int | None = None
    """Overrides the pipeline's seed for this stage."""

    @model_validator(mode="after")
    def _rollouts_can_be_trained_on(self) -> "TrainConfig":
        if self.uses_engine and not self.engine.TRAINS:
            raise ValueError('engine: it takes no weights, so nothing can be trained with it; set engine to "vllm"')
        if self.uses_rollouts and self.sampling.temperature == 0:
            raise ValueError(
                "sampling.temperature is 0 and rollouts are to be trained on: they would all be the same; "
                "set sampling.temperature above 0, 1.0 as usual"
            )
        if self.uses_rollouts and self.sampling.top_p < 1:
            raise ValueError(
                f"sampling.top_p is {self.sampling.top_p} and rollouts are to be trained on: their probabilities are "
                "over the whole vocabulary; set sampling.top_p to 1"
            )
        return self

    @property
    def uses_rollouts(self) -> bool:
        """Whether the algorithm draws rollouts."""
        return Estimator(self.algorithm, max_length=self.sampling.max_tokens).uses_rollouts

    @property
    def uses_engine(self) -> bool:
        """Whether engine and verifiers matter to the outcome: for rollouts, or to choose a model by validation."""
        return self.uses_rollouts or self.validation is not None

    def identity(self) -> dict[str, Any]:
        """What decides the trained model, as far as this config does: for fingerprints and checkpoints.

        Left out are names, which inputs stand for; the seed, which is resolved elsewhere; how often work is saved; how
        much memory is used; and, where the algorithm draws no rollouts, how they would be drawn.
        """
        config = self.model_dump(mode="json", exclude=set(NOT_COMPUTED))
        if self.uses_engine:
            config["engine"] = self.engine.identity()
        if not self.uses_rollouts:
            config["sampling"] = {"max_tokens": self.sampling.max_tokens}
            del config["rollouts_per_question"]
        return config


NOT_COMPUTED = frozenset(
    {
        "from_", "data", "seed", "engine", "checkpoint_every", "checkpoint_async", "keep_checkpoints",
        "gradient_checkpointing", "micro_batch_tokens", "packing",
    }
)  # fmt: skip
"""Fields of TrainConfig that `identity` leaves out; the engine's own identity stands for it."""


class ModelSpec(Frozen):
    """Spec of `python -m hpt_core.models.materialize`: fills `output` with a model folder."""

    config: ModelConfig
    output: Path


class PrepareSpec(Frozen):
    """Spec of `python -m hpt_core.data.prepare`: writes prepared.parquet and report.json into `output`."""

    config: DataConfig
    prompt: PromptConfig
    model: Path
    """Model folder whose tokenizer counts."""
    benchmarks: dict[str, Path] = {}
    """Benchmark name -> its questions.parquet, for decontamination."""
    data_dir: Path | None = None
    strict: bool = False
    """Stop at the first malformed row instead of counting it."""
    workers: int = 2
    output: Path


class TrainSpec(Frozen):
    """Spec of `python -m hpt_core.train`.

    Writes into `output`: model/ (Hugging Face folder), log.parquet, rollouts/step-NNNNN.parquet, summary.json; work in
    progress lives in `work` (checkpoints, the best model so far) and a rerun goes on from there.
    """

    config: TrainConfig
    prompt: PromptConfig
    model: Path
    """Model folder to start from."""
    data: Path
    """prepared.parquet."""
    seed: int
    verifier_workers: int = 2
    threads: int | None = None
    """Torch threads; None takes every core that the process may use. A resumed run equals an undisturbed one only with
    the same number."""
    trackers: tuple[TrackerConfig, ...] = ()
    """Where rows of the training log are mirrored to."""
    run_name: str = ""
    """What trackers call the run."""
    tracking: Path | None = None
    """Folder for what trackers write here; a folder in `work`, which goes with it, where None."""
    work: Path
    output: Path


class SampleUnit(Frozen):
    """One model on one benchmark."""

    benchmark: str
    questions: Path
    """questions.parquet."""
    instruction: str | None = None
    """Replaces the prompt's instruction where the benchmark has its own (Suite.instruction)."""
    sampling: Sampling
    k: int = Field(ge=1)
    """Samples a question."""
    output: Path
    """Folder that receives samples/part-NNNNN.parquet."""
    work: Path
    """Folder of the samples that have finished and stand in no shard yet."""


class Slice(Frozen):
    """A part of every unit's questions."""

    index: int = Field(ge=0)
    """Counted from 0: the questions whose number leaves this remainder."""
    count: int = Field(ge=1)
    """Slices in all."""

    @model_validator(mode="after")
    def _exists(self) -> "Slice":
        if self.index >= self.count:
            raise ValueError(f"there is no slice {self.index} of {self.count}; count from 0")
        return self


class SampleSpec(Frozen):
    """Spec of `python -m hpt_core.evaluation.sample`: one engine draws every missing sample of every unit."""

    model: Path
    prompt: PromptConfig
    engine: EngineConfig
    dtype: Literal["float32", "bfloat16"] = "bfloat16"
    seed: int
    shard_samples: int = Field(512, ge=1)
    """Samples of one Parquet shard, rounded up to whole questions."""
    units: tuple[SampleUnit, ...]
    slice: Slice | None = None
    """Draw a part of the questions into `work`, and leave it to a run that joins the slices to write the shards."""
    joins: bool = False
    """Write the shards of what slices have drawn, and draw nothing: a sample that is missing is an error."""
    pilot: int | None = Field(None, ge=1)
    """Draw every sample of so many questions of each unit into `work`, spread over the unit, and write no shard but an
    estimate of the rest."""
    budget: Budget = Budget()
    """What the samples may cost, over all attempts; a slice's is for what it is about to draw."""


class ClusterSpec(Frozen):
    """Spec of `python -m hpt_core.evaluation.cluster`: the slices of a SampleSpec, on a Ray cluster."""

    sample: SampleSpec
    """What is drawn; its folders lie where every node sees them."""
    address: str
    """Address of the cluster, as ray.init takes it."""
    slices: int | None = Field(None, ge=1)
    """Parts of the questions; None is one for each GPU of the cluster, or for each node where it has none."""


class GradeUnit(Frozen):
    """The samples of one model on one benchmark."""

    benchmark: str
    questions: Path
    samples: Path
    """Folder of sample shards."""
    k: int = Field(ge=1)
    """Samples that every question must have, as in the SampleUnit."""
    output: Path
    """verdicts.parquet to write."""


class GradeSpec(Frozen):
    """Spec of `python -m hpt_core.evaluation.grade`."""

    workers: int = 2
    timeout_s: float = 5.0
    """Seconds that one comparison may take before its process is killed."""
    units: tuple[GradeUnit, ...]


class ContaminationUnit(Frozen):
    """One benchmark against the training data."""

    benchmark: str
    questions: Path
    """questions.parquet."""
    output: Path
    """contamination.parquet to write."""


class ContaminationSpec(Frozen):
    """Spec of `python -m hpt_core.data.contamination`: one pass over the data for every benchmark that is missing."""

    data: Path
    """prepared.parquet."""
    ngram: int = Field(ge=1)
    """Words of an n-gram."""
    units: tuple[ContaminationUnit, ...]
