"""Training: `python -m hpt_core.train`, in one process or, by a launcher, in several."""

import json
import os
from collections.abc import Sequence
from typing import Annotated, Any

from pydantic import Field

from hpt_core import prompts, training, upge, verifiers
from hpt_core.artifacts import Cost, Slot
from hpt_core.base import NOT_IDENTITY
from hpt_core.code import code_of
from hpt_core.models.materialize import ModelConfig
from hpt_core.prompts.base import PromptConfig
from hpt_core.trackers import check_all
from hpt_core.training.config import TrainConfig, TrainSpec
from hpt_core.training.memory import checkpoint_bytes, require_memory
from tasks import data
from tasks.execution import environment, process
from tasks.execution.artifact import Artifacts, Job, Stage, Step, Target
from tasks.execution.config import PipelineConfig
from tasks.execution.context import Context
from tasks.execution.keys import MODEL, PREPARED, Output, Reference, StageKey
from tasks.execution.kind import NamedStages, StageConfig
from tasks.model import model_size

MODULE = "hpt_core.train"
"""The worker program."""
LOG = Output("log", "log.parquet")
"""The training log (hpt_core.schemas.TRAIN_LOG)."""


class Config(TrainConfig, StageConfig):
    """A training stage: `[train.NAME]`, and a sweep over it."""

    from_: Annotated[StageKey, Reference(MODEL)] = Field(alias="from")
    """`model.NAME`, `train.NAME`, or any other stage that makes a model: the model to start from."""
    data: Annotated[StageKey, Reference(PREPARED)]
    """`data.NAME`: the prepared questions. Where the algorithm may train on demonstrations, those without one are left
    out, and counted in the stage's log."""
    seed: Annotated[int | None, NOT_IDENTITY] = None
    """Overrides the pipeline's seed for this stage."""


class TrainStep(Step):
    """A trained model, its log and its rollouts. A run that was cut short goes on from its newest checkpoint."""

    kind = "train"
    produces = (MODEL, LOG)
    keeps_output = True

    def __init__(
        self, stage: StageKey, config: Config, prompt: PromptConfig, seed: int, root: tuple[StageKey, ModelConfig]
    ) -> None:
        """`root`: the model that is trained, before any training."""
        super().__init__(stage)
        self.config = config
        self.prompt = prompt
        self.seed = seed if config.seed is None else config.seed
        self.root = root

    def targets(self, artifacts: Artifacts, context: Context) -> list[Target]:
        """Depends on the model to start from and on the prepared rows."""
        prepared = artifacts[self.config.data]
        versions = {
            "estimator": str(upge.VERSION),
            "trainer": str(training.VERSION),
            "prompts": str(prompts.VERSION),
        }
        graders = []
        if self.config.uses_engine:
            versions["engine"] = environment.engine_version(self.config.engine)
            # Not known before the data are there, when the fingerprint is provisional in any case.
            kinds = () if prepared.provisional else prepared.outputs[data.KINDS.name].split(",")
            graders = [verifiers.get(kind) for kind in kinds]
            graders += [reward.verifier for reward in self.config.rewards if reward.verifier is not None]
            versions |= {grader.name: grader.version for grader in graders}
        inputs = {"model": (artifacts[self.config.from_], MODEL), "prepared": (prepared, PREPARED)}
        config = {**self.config.identity(), "seed": self.seed, "prompt": self.prompt.identity()}
        return [self.target(config, inputs, versions | code_of(self.config, self.prompt, graders))]

    def make(self, jobs: Sequence[Job], artifacts: Artifacts, context: Context) -> Cost:
        """Run the worker, in as many processes as the context says."""
        (job,) = jobs
        spec = self.spec(job.slot, artifacts, context)
        launcher = process.launcher(environment.training_processes(context.processes), context.launcher)
        return context.worker(self.stage, MODULE, spec, [job.slot], spec.threads, launcher)

    def spec(self, slot: Slot, artifacts: Artifacts, context: Context) -> TrainSpec:
        """What the worker reads; its work and its output lie in the slot, and what trackers write beside them."""
        return TrainSpec(
            config=self.config,
            prompt=self.prompt,
            model=artifacts[self.config.from_].path(MODEL),
            data=artifacts[self.config.data].path(PREPARED),
            seed=self.seed,
            verifier_workers=context.workers,
            threads=self._threads(context),
            trackers=context.trackers,
            run_name=f"{context.pipeline} {self.stage}".strip(),
            tracking=slot.folder / "tracking",
            work=slot.work,
            output=slot.output,
        )

    @staticmethod
    def _threads(context: Context) -> int | None:
        """Threads of each process: several on one machine share its cores, where nothing else is asked for."""
        processes = environment.training_processes(context.processes)
        if context.threads is not None or processes == 1:
            return context.threads
        return max(1, len(os.sched_getaffinity(0)) // processes)

    def facts(self, job: Job) -> dict[str, Any]:
        """The trainer's summary."""
        found: dict[str, Any] = json.loads((job.slot.output / "summary.json").read_text(encoding="utf-8"))
        return found

    def preflight(self, artifacts: Artifacts, context: Context) -> int:
        """Trackers, launcher, engine, context length, memory; the bytes of the checkpoints and the model."""
        processes = environment.training_processes(context.processes)
        check_all(context.trackers)
        process.launcher(processes, context.launcher)
        if self.config.uses_engine:
            self.config.engine.check()
        size = model_size(*self.root, artifacts)
        if self.config.uses_rollouts:
            size.require_room(f"{self.stage}.sampling.max_tokens", self.config.sampling.max_tokens)
        if not size.parameters:
            return 0
        # How many machines a launcher of one's own takes is not known here.
        gpus = environment.gpu_memory_bytes()
        if context.launcher is None and gpus is not None:
            require_memory(str(self.stage), self.config, size.parameters, processes, gpus)
        return checkpoint_bytes(self.config, size.parameters, size.config) + 4 * size.parameters


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

    def check(self, pipeline: PipelineConfig) -> None:
        """Data count the tokens of the model that is trained on them."""
        for name, config in self.of(pipeline).items():
            root, counted = pipeline.root(config.from_), pipeline.config_of(config.data).model
            if root != pipeline.root(counted):
                raise ValueError(
                    f"train.{name} starts from '{root}', and {config.data}.model is '{counted}': its tokens are those "
                    f"of another tokenizer; set {config.data}.model to '{root}', or prepare the data once more under "
                    "another name"
                )


KIND = Training()
