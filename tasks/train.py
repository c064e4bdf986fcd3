"""Training: `python -m hpt_core.train`, in one process, or in several with a launcher."""

import json
import math
import os
from collections.abc import Iterator, Sequence
from operator import attrgetter
from typing import Annotated, Any

from pydantic import Field

from benchmarks.catalog.records import Contribution
from hpt_core import prompts, training, upge, verifiers
from hpt_core.artifacts import Cost, Slot
from hpt_core.base import NOT_IDENTITY
from hpt_core.code import code_of
from hpt_core.models.materialize import ModelConfig
from hpt_core.prompts.base import PromptConfig
from hpt_core.trackers import check_all
from hpt_core.training.config import TrainConfig, TrainSpec
from hpt_core.training.memory import checkpoint_bytes, require_memory, rollout_bytes
from hpt_core.training.model import require_trainable
from tasks import data
from tasks.execution import environment, process
from tasks.execution.artifact import Artifacts, Job, Stage, Step, Target
from tasks.execution.catalog import Stored
from tasks.execution.config import PipelineConfig
from tasks.execution.context import Context
from tasks.execution.keys import MODEL, PREPARED, Output, Reference, StageKey
from tasks.execution.kind import ModelStageConfig, NamedStages, Workload
from tasks.model import model_size

MODULE = "hpt_core.train"
"""The worker program."""
LOG = Output("log", "log.parquet")
"""The training log (hpt_core.schemas.TRAIN_LOG)."""


class Config(TrainConfig, ModelStageConfig):
    """A training stage: `[train.NAME]`."""

    from_: Annotated[StageKey, Reference(MODEL)] = Field(alias="from")
    """The model to start from: `model.NAME`, `train.NAME`, or any other stage that produces a model."""
    data: Annotated[StageKey, Reference(PREPARED)]
    """`data.NAME`: the prepared questions. If the algorithm may train on demonstrations, questions without one are
    skipped, and the stage's log says how many."""
    seed: Annotated[int | None, NOT_IDENTITY] = None
    """Overrides the pipeline's seed for this stage."""


class TrainStep(Step):
    """A trained model, its log and its rollouts. An interrupted run continues from its latest checkpoint."""

    kind = "train"
    produces = (MODEL, LOG)
    keeps_output = True
    heavy = True

    def __init__(
        self, stage: StageKey, config: Config, prompt: PromptConfig, seed: int, root: tuple[StageKey, ModelConfig]
    ) -> None:
        """`root` is the base model that training starts from, directly or through other stages, with its config."""
        super().__init__(stage)
        self.config = config
        self.prompt = prompt
        self.seed = seed if config.seed is None else config.seed
        self.root = root

    def targets(self, artifacts: Artifacts, context: Context) -> list[Target]:
        """One target, which depends on the initial model and the prepared rows."""
        prepared = artifacts[self.config.data]
        versions = {
            "estimator": str(upge.VERSION),
            "trainer": str(training.VERSION),
            "prompts": str(prompts.VERSION),
        }
        graders = []
        if self.config.uses_engine:
            versions["engine"] = environment.engine_version(self.config.engine)
            # Unknown until the data exists. The fingerprint is provisional until then anyway.
            kinds = () if prepared.provisional else prepared.outputs[data.KINDS.name].split(",")
            graders = [verifiers.get(kind) for kind in kinds]
            graders += [reward.verifier for reward in self.config.rewards if reward.verifier is not None]
            versions |= {grader.name: grader.version for grader in graders}
        inputs = {"model": (artifacts[self.config.from_], MODEL), "prepared": (prepared, PREPARED)}
        config = {**self.config.identity(), "seed": self.seed, "prompt": self.prompt.identity()}
        return [self.target(config, inputs, versions | code_of(self.config, self.prompt, graders))]

    def make(self, jobs: Sequence[Job], artifacts: Artifacts, context: Context) -> Cost:
        """Run the worker in the number of processes that the context sets."""
        (job,) = jobs
        spec = self.spec(job.slot, artifacts, context)
        launcher = process.launcher(
            environment.training_processes(context.resources.processes), context.resources.launcher
        )
        return context.worker(self.stage, MODULE, spec, [job.slot], spec.threads, launcher, alone=True)

    def spec(self, slot: Slot, artifacts: Artifacts, context: Context) -> TrainSpec:
        """The worker's spec. Work, output and tracker files go to the slot."""
        return TrainSpec(
            config=self.config,
            prompt=self.prompt,
            model=artifacts[self.config.from_].path(MODEL),
            data=artifacts[self.config.data].path(PREPARED),
            seed=self.seed,
            verifier_workers=context.resources.workers,
            threads=self._threads(context),
            trackers=context.trackers,
            run_name=f"{context.pipeline} {self.stage}".strip(),
            tracking=slot.folder / "tracking",
            work=slot.work,
            output=slot.output,
        )

    @staticmethod
    def _threads(context: Context) -> int | None:
        """Threads per process: as configured; otherwise, several processes on one machine share its cores."""
        processes = environment.training_processes(context.resources.processes)
        if context.resources.threads is not None or processes == 1:
            return context.resources.threads
        return max(1, len(os.sched_getaffinity(0)) // processes)

    def facts(self, job: Job) -> dict[str, Any]:
        """The contents of the trainer's summary.json."""
        found: dict[str, Any] = json.loads((job.slot.output / "summary.json").read_text(encoding="utf-8"))
        return found

    def work(self, config: Any) -> float:
        """The responses of all steps, or the questions of an algorithm without rollouts."""
        return float(config["steps"] * config["questions_per_step"] * config.get("rollouts_per_question", 1))

    def devices(self, context: Context) -> int | None:
        """One per process; unknown with a launcher, which may use other machines."""
        return None if context.resources.launcher else environment.devices(context.resources.processes)

    def preflight(self, artifacts: Artifacts, context: Context) -> int:
        """Check trackers, launcher, engine, model, prompt, context length and memory; the disk is for checkpoints,
        rollouts and the model."""
        processes = environment.training_processes(context.resources.processes)
        check_all(context.trackers)
        process.launcher(processes, context.resources.launcher)
        if self.config.uses_engine:
            self.config.engine.check()
        size = model_size(*self.root, artifacts)
        require_trainable(size.config)
        size.require_prompt(self.prompt)
        if self.config.uses_engine:
            self.config.engine.check_model(size.config)
        if self.config.uses_engine:
            size.require_room(f"{self.stage}.sampling.max_tokens", self.config.sampling.max_tokens)
        if not size.parameters:
            return 0
        # A custom launcher may use any number of machines, so memory is checked only without one.
        gpus = environment.gpu_memory_bytes()
        if context.resources.launcher is None and gpus is not None:
            require_memory(str(self.stage), self.config, size.parameters, processes, gpus)
        checkpoints = checkpoint_bytes(self.config, size.parameters, size.config)
        return checkpoints + 4 * size.parameters + round(rollout_bytes(self.config))


class Training(NamedStages):
    """Training stages."""

    config = Config
    order = 50
    produces = (MODEL, LOG)
    command = ("train", "Train models")

    def stage(self, key: StageKey, config: Config, pipeline: PipelineConfig) -> Stage:
        """`train.NAME`."""
        root = pipeline.root(config.from_)
        step = TrainStep(key, config, pipeline.prompt, pipeline.seed, (root, pipeline.config_of(root)))
        return Stage(key, (config.from_, config.data), (step,))

    def workloads(self, stage: Stage, pipeline: PipelineConfig) -> Iterator[Workload]:
        """An upper bound: with a gate that depends on the success rate, every question trains on its rollouts."""
        config: Config = pipeline.config_of(stage.key)
        questions = config.steps * config.questions_per_step
        rollouts = questions * config.rollouts_per_question if config.uses_rollouts else 0
        is_gated = config.algorithm.gate.needs_success_rate
        demonstrations = questions if config.uses_demonstrations and not is_gated else 0
        validated = 0
        if (validation := config.validation) is not None:
            validated = validation.questions * validation.samples * math.ceil(config.steps / validation.every)
        # A backward pass costs twice a forward one.
        passes = 4.0 if config.gradient_checkpointing else 3.0
        if rollouts and not config.makes_one_update:
            passes += 1.0  # the log-probabilities before the first update
        yield Workload(stage.key, rollouts + validated, rollouts + demonstrations, questions, passes)

    def catalog(self, stored: Stored) -> Contribution:
        """The tokens that were generated and trained on."""
        tokens = stored.manifest.facts.get("tokens") or {}
        return Contribution({"stages": [{"tokens": tokens.get("generated"), "trained_tokens": tokens.get("trained")}]})

    def without_effect(self, pipeline: PipelineConfig) -> Iterator[str]:
        """Settings that a stage does not use, unless a stage that uses them has the same, as from [train."*"]."""
        stages = self.of(pipeline)
        unused = {name: dict(config.unused()) for name, config in stages.items()}
        for name, found in unused.items():
            for field, text in found.items():
                value = attrgetter(field)
                using = (config for other, config in stages.items() if field not in unused[other])
                if not any(value(config) == value(stages[name]) for config in using):
                    yield f"{self.key(name)}.{field} {text}"

    def check(self, pipeline: PipelineConfig) -> None:
        """Training data must be prepared with the tokenizer of the model that is trained on it."""
        for name, config in self.of(pipeline).items():
            root, counted = pipeline.root(config.from_), pipeline.config_of(config.data).model
            if root != pipeline.root(counted):
                raise ValueError(
                    f"train.{name} starts from '{root}', but {config.data}.model is '{counted}', whose tokenizer may "
                    f"differ; set {config.data}.model to '{root}', or prepare the data again under another name"
                )


KIND = Training()
