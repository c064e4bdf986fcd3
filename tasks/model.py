"""Base models: `python -m hpt_core.models.materialize` fills a model folder."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from pydantic import Field

from hpt_core.artifacts import Cost, FileEntry
from hpt_core.code import code_of
from hpt_core.errors import PreflightError
from hpt_core.model_folder import read_object, size
from hpt_core.models.materialize import ModelConfig, ModelSpec
from tasks.execution.artifact import Artifacts, Job, Stage, Step, Target
from tasks.execution.config import PipelineConfig
from tasks.execution.context import Context
from tasks.execution.keys import MODEL, Output, StageKey
from tasks.execution.kind import NamedStages, StageConfig

TOKENIZER = Output("tokenizer", "model")
"""The same folder, for stages that depend only on the tokenizer."""
FILE = "model.json"


class Config(ModelConfig, StageConfig):
    """A base model: `[model.NAME]`."""


class ModelStep(Step):
    """One model folder."""

    kind = "model"
    produces = (MODEL, TOKENIZER)

    def __init__(self, stage: StageKey, config: ModelConfig) -> None:
        super().__init__(stage)
        self.config = config

    def targets(self, artifacts: Artifacts, context: Context) -> list[Target]:
        """One target, which depends on the source and the overrides.

        Raises ModelError if a local folder is missing or incomplete.
        """
        return [self.target(self.config.identity(), {}, code_of(self.config))]

    def make(self, jobs: Sequence[Job], artifacts: Artifacts, context: Context) -> Cost:
        """Run the worker."""
        (job,) = jobs
        spec = ModelSpec(config=self.config, output=job.slot.output)
        return context.worker(self.stage, "hpt_core.models.materialize", spec, [job.slot])

    def outputs(self, job: Job, files: tuple[FileEntry, ...]) -> dict[str, str]:
        """The identities that the worker recorded; for a Hub model, its commit."""
        found = self.facts(job)
        return {MODEL.name: found["weights_id"], TOKENIZER.name: found["tokenizer_id"]}

    def facts(self, job: Job) -> dict[str, Any]:
        """The contents of model.json, which the worker writes."""
        found: dict[str, Any] = json.loads((job.slot.output / FILE).read_text(encoding="utf-8"))
        return found

    def needs(self, context: Context) -> str:
        """A download, or nothing."""
        return self.config.source.needs()


class Models(NamedStages):
    """Base models."""

    config = Config
    table = (dict[str, Config], Field(min_length=1))
    order = 10
    is_goal = False
    produces = (MODEL, TOKENIZER)

    def stage(self, key: StageKey, config: Config, pipeline: PipelineConfig) -> Stage:
        """`model.NAME`."""
        return Stage(key, (), (ModelStep(key, config),))


class ModelFacts(NamedTuple):
    """Facts about a model, as far as they are known before it is fetched."""

    model: StageKey
    context: int | None
    """Context length in tokens."""
    parameters: int | None
    config: dict[str, Any]
    """Its config.json."""

    def require_room(self, what: str, tokens: int) -> None:
        """Raise PreflightError if this many new tokens leave no room for a prompt."""
        if self.context and tokens >= self.context:
            raise PreflightError(
                f"{what} = {tokens} leaves no room for a prompt in the context of {self.model}, {self.context} tokens",
                "lower it, or raise the model's max_position_embeddings",
            )


def model_size(key: StageKey, config: ModelConfig, artifacts: Artifacts) -> ModelFacts:
    """The facts known about the model `model.NAME`, whether or not it has been fetched."""
    made = artifacts.of(key)
    folder = made.path(MODEL) if made and not made.provisional else getattr(config.source, "path", None)
    found: dict[str, Any] = {}
    parameters = None
    if folder is not None and (Path(folder) / "config.json").is_file():
        found = read_object(Path(folder) / "config.json")
        parameters = size(Path(folder)).parameters
    context = config.max_position_embeddings or found.get("max_position_embeddings")
    return ModelFacts(key, context or getattr(config.source, "max_positions", None), parameters, found)


KIND = Models()
