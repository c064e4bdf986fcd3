"""The config of a training stage, and the spec of its worker, `python -m hpt_core.train`."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from hpt_core.base import NOT_IDENTITY, Frozen
from hpt_core.prompts.base import PromptConfig
from hpt_core.rollout.base import EngineConfig, Sampling
from hpt_core.trackers import Mirror, open_all
from hpt_core.trackers.base import TrackerConfig
from hpt_core.upge.algorithm import Algorithm
from hpt_core.upge.estimator import Estimator
from hpt_core.verifiers.base import Verifier

Decay = Annotated[float, Field(ge=0, lt=1)]


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
    """Responses a question, sampled with the same seeds at every validation."""
    temperature: float = Field(0.6, ge=0)
    """Softmax temperature (0.6, as in the paper's evaluation)."""
    top_p: float = Field(0.95, gt=0, le=1)
    """Nucleus mass (0.95, as in the paper's evaluation)."""
    keep: Literal["last", "best"] = "best"
    """Which model the stage exports: that of the last step, or the validated one with the highest reward (the earliest
    of equals)."""


class Reward(Frozen):
    """One part of a rollout's reward."""

    verifier: Verifier | None = None
    """The verifier that gives it; None is the question's own, which also says what is correct."""
    weight: float = Field(1.0, allow_inf_nan=False)
    """Factor of the verifier's reward."""


class TrainConfig(Frozen):
    """A training stage: `[train.NAME]`."""

    algorithm: Algorithm
    """What is optimized: a gate and its signals."""
    steps: int = Field(ge=1)
    """Rollout steps; each takes `questions_per_step` questions."""
    questions_per_step: int = Field(128, ge=1)
    """Questions a step (scripts: 128)."""
    rollouts_per_question: int = Field(8, ge=1)
    """Rollouts of each question, n (scripts: 8). Algorithms that use no rollouts have none."""
    sampling: Sampling = Sampling()
    """How rollouts are sampled; max_tokens is also the constant length M of "fixed_length"."""
    rewards: tuple[Reward, ...] = Field(default=(Reward(),), min_length=1)
    """Parts of a rollout's reward, which are added up: by default the question's own verdict, 1 for a correct response.
    Gates decide by the share of correct rollouts, whatever the rewards."""
    engine: EngineConfig = Field(default="vllm", validate_default=True)
    """What samples the rollouts."""
    optimizer: OptimizerConfig = OptimizerConfig()
    """AdamW and its guards."""
    minibatch_rows: int | None = Field(None, ge=1)
    """Rows of one optimizer update; None makes one update a step. 512 in the scripts (64 questions of 8 rollouts; a
    question gated to its demonstration gives one row), and the last update of a step may be ragged."""
    micro_batch_tokens: Annotated[int, NOT_IDENTITY] = Field(8192, ge=1)
    """Prompt and response tokens of one forward pass at most; the gradient does not depend on it."""
    packing: Annotated[bool, NOT_IDENTITY] = True
    """Lay the rows of a micro-batch end to end in place of padding them, a question's rollouts behind one copy of its
    prompt. The gradient does not depend on it. Models with windowed attention are padded in any case."""
    importance_cap: float | None = Field(None, gt=0)
    """Truncated importance correction of the engine's mismatch with the trainer: each token of a rollout counts
    min(pi_trainer / pi_engine, cap) times, both at rollout time; 2 is usual. None corrects nothing."""
    lora: LoraConfig | None = None
    """Train low-rank adapters in place of the weights."""
    validation: ValidationConfig | None = None
    """Validate on held-out questions as training goes on; None holds nothing out and exports the last step's model."""
    gradient_checkpointing: Annotated[bool, NOT_IDENTITY] = False
    """Recompute the layers' activations in the backward pass: less memory, about a third more time."""
    dtype: Literal["float32", "bfloat16"] = "float32"
    """Compute precision of the trainer and of the engine; master weights are float32 always."""
    checkpoint_every: Annotated[int, NOT_IDENTITY] = Field(50, ge=1)
    """Steps between checkpoints (scripts: 50). The last step is always saved."""
    keep_checkpoints: Annotated[int, NOT_IDENTITY] = Field(1, ge=1)
    """Newest checkpoints to keep."""
    checkpoint_async: Annotated[bool | None, NOT_IDENTITY] = None
    """Write checkpoints while training goes on, from a copy in the machine's memory; None does so where a GPU holds the
    weights."""

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
        """Whether the algorithm samples rollouts."""
        return Estimator(self.algorithm, max_length=self.sampling.max_tokens).uses_rollouts

    @property
    def uses_engine(self) -> bool:
        """Whether engine and verifiers matter to the outcome: for rollouts, or to choose a model by validation."""
        return self.uses_rollouts or self.validation is not None

    def deciding(self) -> Iterator[tuple[str, Any]]:
        """See Frozen.deciding: without rollouts it does not matter how they would be sampled, nor by which engine."""
        unused = set() if self.uses_rollouts else {"rollouts_per_question", "rewards"}
        unused |= set() if self.uses_engine else {"engine"}
        yield from ((name, value) for name, value in super().deciding() if name not in unused)

    def identity(self) -> dict[str, Any]:
        """What decides the trained model, as far as this config does: for fingerprints and checkpoints."""
        found = super().identity()
        return found if self.uses_rollouts else found | {"sampling": {"max_tokens": self.sampling.max_tokens}}


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

    def open_trackers(self, steps_done: int) -> Mirror:
        """See trackers.open_all."""
        config = self.config.model_dump(mode="json", by_alias=True) | {"seed": self.seed}
        return open_all(self.trackers, self.tracking or self.work / "tracking", self.run_name, config, steps_done)

    def after_step(self, row: Mapping[str, Any]) -> None:
        """Called on the first rank when a step's row (schemas.TRAIN_LOG) is in the log and its checkpoint is not yet
        written. The run waits for it, and what it raises ends the run. It does nothing here: who drives a run step by
        step overrides it in a subclass."""
