"""Prepare training questions: `python -m hpt_core.data.prepare`."""

import json
from collections.abc import Sequence
from typing import Annotated, Any

import pyarrow.parquet as pq

from benchmarks.suite import Suite
from hpt_core import prompts, verifiers
from hpt_core.artifacts import Cost, FileEntry
from hpt_core.base import NOT_IDENTITY
from hpt_core.code import code_of
from hpt_core.data import decontaminate
from hpt_core.data.config import DataConfig, Room
from hpt_core.data.prepare import PrepareSpec
from hpt_core.data.procedural import base as _families  # noqa: F401  (registers a kind of plug-in)
from hpt_core.models.materialize import ModelConfig
from hpt_core.prompts.base import PromptConfig
from hpt_core.training.config import TrainConfig
from tasks import benchmark, model
from tasks.execution.artifact import Artifacts, Job, Stage, Step, Target
from tasks.execution.config import PipelineConfig
from tasks.execution.context import Context
from tasks.execution.keys import MODEL, PREPARED, Output, Reference, StageKey
from tasks.execution.kind import NamedStages, StageConfig
from tasks.model import model_size

KINDS = Output("kinds", "")
"""Comma-separated names of the rows' verifiers."""


class Config(DataConfig, StageConfig):
    """Training questions to prepare: `[data.NAME]`."""

    model: Annotated[StageKey, Reference(model.TOKENIZER)]
    """`model.NAME`: its tokenizer and chat template are used to count tokens."""
    decontaminate: Annotated[tuple[Suite, ...], NOT_IDENTITY] = ()
    """Benchmarks whose questions must not appear in the data."""


class PrepareStep(Step):
    """prepared.parquet, and report.json with the number of dropped rows."""

    kind = "data"
    version = "2"  # 16- and 32-bit floats of Parquet files keep their digits, and their NaN is refused
    produces = (PREPARED,)

    def __init__(
        self, stage: StageKey, config: Config, prompt: PromptConfig, model: ModelConfig, trained: Sequence[TrainConfig]
    ) -> None:
        """`model` is the config of the model that the data is prepared for, `trained` those of the stages that train on
        the data."""
        super().__init__(stage)
        self.config = config
        self.prompt = prompt
        self.model = model
        self.trained = trained

    def targets(self, artifacts: Artifacts, context: Context) -> list[Target]:
        """One target, which depends on the tokenizer (not the weights) and the questions to decontaminate against."""
        source = self.config.source
        config = {**self.config.identity(), "prompt": self.prompt.identity()}
        config["source"] = source.content(context.data_dir)
        if (room := self.room(artifacts)) is not None:
            config["room"] = room.model_dump()
        if context.strict:
            # Do not reuse an artifact that was produced without --strict, because malformed rows may have been dropped.
            config["strict"] = True
        inputs = {"tokenizer": (artifacts[self.config.model], model.TOKENIZER)}
        inputs |= {str(key): (artifacts[key], benchmark.QUESTIONS) for key in self.benchmarks}
        versions = {"prompts": str(prompts.VERSION), "decontaminate": str(decontaminate.VERSION)}
        graders = []
        if self.config.unverified != "keep":
            graders = [verifiers.get(kind) for kind in source.kinds(context.data_dir)]
            versions |= {grader.name: grader.version for grader in graders}
        return [self.target(config, inputs, versions | code_of(self.config, self.prompt, graders))]

    def room(self, artifacts: Artifacts) -> Room | None:
        """The model's context, if a row within the limits of the config may exceed it; None too while it is unknown.

        Training could not use such a row. The preparation leaves it out, so that training does not fail after hours.
        """
        response = max((config.sampling.max_tokens for config in self.trained if config.uses_engine), default=0)
        demonstrations = not self.trained or any(config.uses_demonstrations for config in self.trained)
        longest = max(response, self.config.max_demonstration_tokens if demonstrations else 0)
        context = model_size(self.config.model, self.model, artifacts).context
        if context is None or self.config.max_prompt_tokens + longest <= context:
            return None
        return Room(context=context, response=response, demonstrations=demonstrations)

    @property
    def benchmarks(self) -> list[StageKey]:
        """Stages of the benchmarks to decontaminate against."""
        return [benchmark.KIND.key(suite.name) for suite in self.config.decontaminate]

    def make(self, jobs: Sequence[Job], artifacts: Artifacts, context: Context) -> Cost:
        """Run the worker."""
        (job,) = jobs
        spec = PrepareSpec(
            config=self.config,
            prompt=self.prompt,
            model=artifacts[self.config.model].path(MODEL),
            benchmarks={key.name: artifacts[key].path(benchmark.QUESTIONS) for key in self.benchmarks},
            data_dir=context.data_dir,
            room=self.room(artifacts),
            strict=context.strict,
            workers=context.resources.workers,
            output=job.slot.output,
        )
        return context.worker(self.stage, "hpt_core.data.prepare", spec, [job.slot])

    def outputs(self, job: Job, files: tuple[FileEntry, ...]) -> dict[str, str]:
        """`prepared`: hash of the rows; `kinds`: the rows' verifiers."""
        kinds = pq.read_table(job.slot.output / PREPARED.path, columns=["kind"]).column("kind")
        return {**super().outputs(job, files), KINDS.name: ",".join(sorted(kinds.unique().to_pylist()))}

    def facts(self, job: Job) -> dict[str, Any]:
        """The contents of report.json."""
        found: dict[str, Any] = json.loads((job.slot.output / "report.json").read_text(encoding="utf-8"))
        return found

    def needs(self, context: Context) -> str:
        """A download, or nothing."""
        return self.config.source.needs(context.data_dir)


class Data(NamedStages):
    """Training questions."""

    config = Config
    order = 30
    is_goal = False
    produces = (PREPARED,)
    command = ("prepare", "Prepare training questions")

    def stage(self, key: StageKey, config: Config, pipeline: PipelineConfig) -> Stage:
        """`data.NAME`."""
        from tasks import train  # it imports this module

        trained = [stage for stage in train.KIND.of(pipeline).values() if stage.data == key]
        step = PrepareStep(key, config, pipeline.prompt, pipeline.config_of(config.model), trained)
        return Stage(key, (config.model, *step.benchmarks), (step,))


KIND = Data()
