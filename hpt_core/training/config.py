"""Config of a training stage, and the spec of its worker `python -m hpt_core.train`."""

import math
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from hpt_core.base import NOT_IDENTITY, Frozen, UsedIf, differs
from hpt_core.errors import ConfigError
from hpt_core.paths import UserPath
from hpt_core.prompts.base import PromptConfig
from hpt_core.rollout.base import ONE_TOKEN, EngineConfig, Sampling
from hpt_core.trackers import Trackers, open_all
from hpt_core.trackers.base import TrackerConfig
from hpt_core.upge.algorithm import Algorithm
from hpt_core.upge.estimator import Estimator
from hpt_core.upge.reach import Reach
from hpt_core.verifiers.base import Verifier

Decay = Annotated[float, Field(ge=0, lt=1)]


class OptimizerConfig(Frozen):
    """AdamW, as in the training scripts."""

    learning_rate: float = Field(5e-6, gt=0)
    """Peak learning rate (HPT and GRPO 5e-6; LUFFY and SRFT 1e-6)."""
    betas: tuple[Decay, Decay] = (0.9, 0.999)
    """Decay rates of the first and second moments."""
    eps: float = Field(1e-8, gt=0)
    """Constant added to the denominator."""
    weight_decay: float = Field(0.01, ge=0)
    """Decoupled weight decay."""
    warmup_steps: int = Field(0, ge=0)
    """Steps over which the learning rate rises linearly from zero."""
    decay: Literal["constant", "cosine", "linear"] = "constant"
    """Schedule after warm-up: "constant", or a "cosine" or "linear" decay to zero by the last step."""
    gradient_clip: float | None = Field(1.0, gt=0)
    """Maximum global gradient norm; None turns clipping off."""
    spike_limit: float | None = Field(None, gt=0)
    """Updates whose gradient norm exceeds this limit are skipped and counted (80 in the Qwen HPT script)."""
    eight_bit: bool = False
    """Store the moments in 8 bits: a quarter of their memory, with different rounding. Requires bitsandbytes."""


class LoraConfig(Frozen):
    """Low-rank adapters (Hu 2021) through peft, merged into the exported model. There is no dropout, because with it
    the trained policy would differ from the one that sampled the rollouts."""

    rank: int = Field(16, ge=1)
    """Rank of an adapter."""
    alpha: float = Field(32.0, gt=0)
    """The adapter's product is scaled by alpha / rank."""
    targets: str | tuple[str, ...] = "all-linear"
    """Layers that get an adapter: a list of name endings, or "all-linear" for all linear layers but the output head."""


class ValidationConfig(Frozen):
    """Validation during training: the model's mean reward on questions held out of the training data."""

    every: int = Field(10, ge=1)
    """Steps between validations (scripts: 10). The model of the last step is always validated."""
    questions: int = Field(64, ge=1)
    """Questions held out of the prepared data: the first in a fixed hash order, which does not depend on the seed."""
    samples: int = Field(1, ge=1)
    """Responses per question, sampled with the same seeds at every validation."""
    temperature: float = Field(0.6, ge=0)
    """Softmax temperature (0.6, as in the paper's evaluation)."""
    top_p: float = Field(0.95, gt=0, le=1)
    """Nucleus mass (0.95, as in the paper's evaluation)."""
    stop_at: float | None = None
    """Stop training once a validation's reward is at least this; None always trains all steps. It makes models of
    different seeds equally strong, such as the bases of an experiment."""
    keep: Literal["last", "best"] = "best"
    """Which model the stage exports: the last step's, or the validated one with the highest reward (the earliest on a
    tie)."""

    def without_effect(self) -> Iterator[str]:
        """Settings without an effect, such as several samples at temperature 0."""
        if self.temperature == 0 and self.samples > 1:
            yield f"samples is {self.samples}, but at temperature 0 all of them are the same; set it to 1"
        if self.temperature == 0 and differs(self, "top_p"):
            yield f"top_p is {self.top_p}, but {ONE_TOKEN}; remove it, or raise temperature"


class KeptRollouts(Frozen):
    """The steps whose rollouts a stage keeps, in rollouts/ beside the model."""

    every: int = Field(1, ge=0)
    """Keep those of every Nth step: 1 keeps all, 0 none."""
    last: int = Field(0, ge=0)
    """Keep those of the last N steps, too."""

    def keeps(self, step: int, steps: int) -> bool:
        """Whether the rollouts of `step` are kept once `steps` steps are done."""
        return (self.every > 0 and step % self.every == 0) or step > steps - self.last

    def without_effect(self) -> Iterator[str]:
        """Steps that are kept anyway."""
        if self.last and self.every == 1:
            yield f"last is {self.last}, but every = 1 keeps the rollouts of all steps; remove it, or raise every"


class Reward(Frozen):
    """One part of a rollout's reward."""

    verifier: Verifier | None = None
    """Verifier that computes this part; None uses the question's own."""
    weight: float = 1.0
    """Factor of the verifier's reward."""

    def without_effect(self) -> Iterator[str]:
        """A part without weight."""
        if self.weight == 0:
            yield "weight is 0, so this part adds nothing to the reward; set another weight, or remove the part"


OF_ROLLOUTS = UsedIf("uses_rollouts")


class TrainConfig(Frozen):
    """A training stage: `[train.NAME]`."""

    algorithm: Algorithm
    """Training algorithm: a gate and its signals."""
    steps: int = Field(ge=1)
    """Training steps; each uses `questions_per_step` questions."""
    questions_per_step: int = Field(128, ge=1)
    """Questions per step (scripts: 128)."""
    rollouts_per_question: Annotated[int, OF_ROLLOUTS] = Field(8, ge=1)
    """Rollouts per question, n (scripts: 8). Ignored by algorithms without rollouts."""
    sampling: Annotated[
        Sampling, UsedIf("uses_rollouts", but=("max_tokens", "stop")), UsedIf("uses_engine", but=("max_tokens",))
    ] = Sampling()
    """How rollouts are sampled; max_tokens is also the constant length M of "fixed_length"."""
    rewards: Annotated[tuple[Reward, ...], OF_ROLLOUTS] = Field(default=(Reward(),), min_length=1)
    """Parts of a rollout's reward, which are summed. By default the reward is the question's own verdict: 1 for a
    correct response. Gates always use the share of correct rollouts, not these rewards."""
    truncated: Annotated[Literal["no_reward", "mask", "grade"], OF_ROLLOUTS] = "no_reward"
    """How a rollout that was cut at max_tokens counts. "no_reward": it counts as incorrect and gets a reward of at
    most 0, so that the model learns to stop. "mask": it counts in its group but is not trained on (DAPO's overlong
    filtering). "grade": it counts like any other, as in the scripts. A model whose cut responses contain the answer
    then unlearns to stop."""
    demonstration_reward: Literal["one", "graded"] = "one"
    """R of a demonstration for algorithms that use it. "one": it is correct by definition. "graded": its own verifier
    judges it, as in the scripts, so that an unverified one may have R = 0."""
    engine: Annotated[EngineConfig, UsedIf("uses_engine")] = Field(default="vllm", validate_default=True)
    """Engine that samples the rollouts."""
    optimizer: OptimizerConfig = OptimizerConfig()
    """AdamW, gradient clipping and spike limit."""
    minibatch_rows: int | None = Field(None, ge=1)
    """Rows per optimizer update; None makes one update per step. The scripts use 512, for 64 questions with 8
    rollouts; a question gated to its demonstration gives one row. The last update of a step may be smaller."""
    micro_batch_tokens: Annotated[int, NOT_IDENTITY] = Field(8192, ge=1)
    """Maximum prompt and response tokens in one forward pass. The gradient does not depend on it."""
    packing: Annotated[bool, NOT_IDENTITY] = True
    """Concatenate the rows of a micro-batch instead of padding them; rollouts of one question share one copy of its
    prompt. The gradient does not depend on it. Models with windowed attention are always padded."""
    importance_cap: Annotated[float | None, OF_ROLLOUTS] = Field(None, gt=0)
    """Truncated importance correction for the mismatch between engine and trainer: each rollout token is weighted by
    min(pi_trainer / pi_engine, cap), both at rollout time. A usual value is 2. None applies no correction."""
    lora: LoraConfig | None = None
    """Train low-rank adapters instead of all weights."""
    validation: ValidationConfig | None = None
    """Validate on held-out questions during training; None holds nothing out and exports the last step's model."""
    gradient_checkpointing: Annotated[bool, NOT_IDENTITY] = False
    """Recompute the layers' activations in the backward pass: less memory, about a third more time."""
    dtype: Literal["float32", "bfloat16"] = "float32"
    """Compute precision of the trainer and the engine; master weights are always float32."""
    checkpoint_every: Annotated[int, NOT_IDENTITY] = Field(50, ge=1)
    """Steps between checkpoints (scripts: 50). The last step is always saved."""
    keep_checkpoints: Annotated[int, NOT_IDENTITY] = Field(2, ge=1)
    """Number of newest checkpoints to keep. If the newest is damaged, training continues from the one before."""
    keep_rollouts: Annotated[KeptRollouts, NOT_IDENTITY, OF_ROLLOUTS] = KeptRollouts()
    """Which steps' rollouts to keep; by default all. They take most of a long run's disk space."""
    export_every: Annotated[int | None, NOT_IDENTITY] = Field(None, ge=1)
    """Steps between exports of the model as it is, to `export_to`/step-NNNNN, for `hpt watch` or other programs. The
    last step is the stage's own model."""
    export_to: Annotated[UserPath | None, NOT_IDENTITY] = None
    """Folder for the models of `export_every`."""
    checkpoint_async: Annotated[bool | None, NOT_IDENTITY] = None
    """Write checkpoints in the background, from a copy in main memory; None does so if the weights are on a GPU."""

    @model_validator(mode="after")
    def _exports_somewhere(self) -> "TrainConfig":
        if (self.export_every is None) != (self.export_to is None):
            missing = "export_to" if self.export_to is None else "export_every"
            raise ValueError(f"export_every and export_to belong together; set {missing} too, or remove the other")
        return self

    @model_validator(mode="after")
    def _rollouts_can_be_trained_on(self) -> "TrainConfig":
        if self.uses_engine and not self.engine.TRAINS:
            raise ValueError('engine: this engine does not accept weights during training; set engine to "vllm"')
        if self.uses_rollouts and self.sampling.temperature == 0:
            raise ValueError(
                "sampling.temperature is 0, so all rollouts of a question would be the same; "
                "set sampling.temperature above 0, usually to 1.0"
            )
        for name, value in self.sampling.reshaping.items() if self.uses_rollouts else ():
            raise ValueError(
                f"sampling.{name} is {value}, but training on rollouts needs their probabilities over the whole "
                f"vocabulary; set sampling.{name} to {Sampling.model_fields[name].default:g}"
            )
        if not self._reach.trains_anything and not any(r.coefficient for r in self.algorithm.regularizers):
            raise ValueError(f"nothing would be trained: algorithm.{next(self._reach.idle())}")
        if self.uses_engine:
            try:
                # Without rollouts, only validation samples. Of these options it uses the stop texts.
                self.engine.require(self.sampling if self.uses_rollouts else Sampling(stop=self.sampling.stop))
            except ConfigError as error:
                raise ValueError(f"sampling: {error.cause}; {error.remedy}") from error
        return self

    def without_effect(self) -> Iterator[str]:
        """Settings that change nothing in a run of this length with this many rollouts, apart from `unused`."""
        warmup, validation = self.optimizer.warmup_steps, self.validation
        if warmup >= self.steps:
            yield (
                f"optimizer.warmup_steps is {warmup}, so the learning rate does not reach its peak in {self.steps} "
                "steps; set it below steps"
            )
        if self.optimizer.decay != "constant" and self.steps - warmup == 1:
            yield (
                f"optimizer.decay is {self.optimizer.decay!r}, but a decay needs 2 steps after the warm-up, and this "
                "run has 1; raise steps or lower optimizer.warmup_steps"
            )
        if validation is not None and validation.every >= self.steps > 1:
            yield (
                f"validation.every is {validation.every}, so only the model of the last of {self.steps} steps is "
                "validated; set it below steps"
            )
        if differs(self, "keep_checkpoints") and self.keep_checkpoints > self.checkpoints_written:
            yield (
                f"keep_checkpoints is {self.keep_checkpoints}, but the run writes only {self.checkpoints_written}; "
                f"lower {'' if self.checkpoint_every == 1 else 'checkpoint_every or '}keep_checkpoints"
            )
        yield from (f"algorithm.{text}" for text in self._reach.idle())
        for name, signal in self._estimator.signals.items() if self.makes_one_update else ():
            if signal.stabilization_mask.clips and differs(signal, "stabilization_mask"):
                yield (
                    f"algorithm.{name}.stabilization_mask clips nothing, because a step makes one update, at which "
                    "pi_theta is pi_old; set minibatch_rows to less than the rows of a step, or remove it"
                )

    def unused(self) -> Iterator[tuple[str, str]]:
        """(field, "CAUSE; REMEDY") of settings that this stage does not use. Stages may share them: a stage without
        rollouts has the rewards of [train."*"] too."""
        for name, used in self.without_use().items():
            if used and isinstance(value := getattr(self, name), Frozen):
                options = (key for key in type(value).model_fields if key not in used and differs(value, key))
                found = [f"{name}.{key}" for key in options]
            else:
                found = [name] if differs(self, name) else []
            for field in found:
                yield field, "is set, but this stage samples no rollouts; remove it"
        if self.minibatch_rows is not None and self.minibatch_rows > self._most_rows:
            yield (
                "minibatch_rows",
                f"is {self.minibatch_rows}, but a step has at most {self._most_rows} rows; lower it, or remove it",
            )
        if differs(self, "checkpoint_every") and self.checkpoint_every > self.steps:
            yield (
                "checkpoint_every",
                f"is {self.checkpoint_every}, so only the last of {self.steps} steps is saved; set it to {self.steps} "
                "or less",
            )

    @property
    def checkpoints_written(self) -> int:
        """Number of checkpoints that an uninterrupted run writes."""
        return math.ceil(self.steps / self.checkpoint_every)

    @property
    def _most_rows(self) -> int:
        """Rows of a step in which every response carries a signal."""
        carriers = {signal.on for signal in self._estimator.signals.values()}
        rollouts = self.rollouts_per_question if "rollouts" in carriers else 0
        return self.questions_per_step * (rollouts + ("demonstration" in carriers))

    @property
    def makes_one_update(self) -> bool:
        """Whether every step makes one update. Its importance ratios are exactly 1 (Updater.run)."""
        return self.minibatch_rows is None or self.minibatch_rows >= self._most_rows

    @property
    def _estimator(self) -> Estimator:
        return Estimator(self.algorithm, max_length=self.sampling.max_tokens)

    @property
    def _reach(self) -> Reach:
        by_verdict = len(self.rewards) == 1 and self.rewards[0].verifier is None
        return Reach(self._estimator, self.rollouts_per_question if self.uses_rollouts else 0, by_verdict)

    @property
    def uses_rollouts(self) -> bool:
        """Whether the algorithm samples rollouts."""
        return self._estimator.uses_rollouts

    @property
    def uses_demonstrations(self) -> bool:
        """Whether the algorithm may train on demonstrations."""
        return self._estimator.uses_demonstrations

    @property
    def uses_engine(self) -> bool:
        """Whether the run samples: for rollouts, or for validation."""
        return self.uses_rollouts or self.validation is not None


class TrainSpec(Frozen):
    """Spec of `python -m hpt_core.train`.

    The worker writes model/ (Hugging Face folder), log.parquet, rollouts/step-NNNNN.parquet and summary.json to
    `output`. Checkpoints and the best model so far are in `work`, from which a rerun resumes.
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
    """Torch threads; None uses every core available to the process. A resumed run equals an uninterrupted one only with
    the same number of threads."""
    trackers: tuple[TrackerConfig, ...] = ()
    """Trackers that receive the rows of the training log."""
    run_name: str = ""
    """Name of the run in trackers."""
    tracking: Path | None = None
    """Folder for files that trackers write; None uses a folder in `work`, which is deleted with it."""
    work: Path
    output: Path

    def open_trackers(self, steps_done: int) -> Trackers:
        """See trackers.open_all."""
        config = self.config.model_dump(mode="json", by_alias=True) | {"seed": self.seed}
        return open_all(self.trackers, self.tracking or self.work / "tracking", self.run_name, config, steps_done)

    def after_step(self, row: Mapping[str, Any]) -> None:
        """Hook for subclasses; does nothing here. The first rank calls it after each step, when the step's row
        (schemas.TRAIN_LOG) is in the log and before its checkpoint is written. The run waits for it. An exception ends
        the run."""
