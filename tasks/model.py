"""Base models: `python -m hpt_core.models.materialize` fills a model folder."""

import importlib.metadata
import json
import logging
from collections.abc import Mapping, Sequence
from functools import lru_cache, partial
from pathlib import Path
from typing import Any, NamedTuple

from pydantic import Field

from hpt_core import prompts
from hpt_core.artifacts import Cost, FileEntry
from hpt_core.artifacts.known import remembered
from hpt_core.base import Name
from hpt_core.code import code_of
from hpt_core.errors import PreflightError
from hpt_core.model_folder import load_tokenizer, tokenizer_id
from hpt_core.models.base import KnownModel
from hpt_core.models.materialize import ModelConfig, ModelSpec
from hpt_core.prompts.base import PromptConfig
from tasks.execution.artifact import Artifacts, Job, Stage, Step, Target
from tasks.execution.config import PipelineConfig
from tasks.execution.context import Context
from tasks.execution.keys import MODEL, Output, StageKey
from tasks.execution.kind import ModelStageConfig, NamedStages

LOG = logging.getLogger("hpt.model")

TOKENIZER = Output("tokenizer", "model")
"""The same folder, for stages that depend only on the tokenizer."""
FILE = "model.json"


class Config(ModelConfig, ModelStageConfig):
    """A base model: `[model.NAME]`."""


class ModelStep(Step):
    """One model folder."""

    kind = "model"
    version = "2"  # it also has the files that the model does not need, such as its license
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

    def preflight(self, artifacts: Artifacts, context: Context) -> int:
        """Warn about checks that the stages with this model skip, because its size or context length is unknown."""
        known = model_size(self.stage, self.config, artifacts)
        skipped = ["disk", "memory"] if known.parameters is None else []
        skipped += ["context length"] if known.context is None else []
        if skipped:
            LOG.warning(
                "%s: not checked before the run, because the model is not there yet: %s", self.stage, ", ".join(skipped)
            )
        return 0

    def needs(self, context: Context) -> str:
        """A download, or nothing."""
        return self.config.source.needs()


class Models(NamedStages):
    """Base models."""

    config = Config
    table = (dict[Name, Config], Field(min_length=1))
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
    config: Mapping[str, Any]
    """Its config.json, as far as it is known."""
    folder: Path | None
    """Its folder, if it is there already."""

    def require_prompt(self, prompt: PromptConfig) -> None:
        """Raise ModelError if the model's tokenizer or chat template does not fit `prompt`. Skipped if it is not there
        yet; the workers check it too.

        What fits is remembered in the user's cache, because loading a tokenizer takes seconds.
        """
        if self.folder is None:
            return
        config = (self.folder / "config.json").read_text(encoding="utf-8")
        tokenizer = tokenizer_id(self.folder)
        library = importlib.metadata.version("transformers")
        facts = [tokenizer, config, prompt.identity(), code_of(prompt), prompts.VERSION, library]
        remembered("prompts", facts, partial(self._bind, prompt, tokenizer, config))

    def _bind(self, prompt: PromptConfig, tokenizer: str, config: str) -> bool:
        assert self.folder is not None
        prompt.bind(_tokenizer(self.folder, tokenizer, config))
        return True

    def require_room(self, what: str, tokens: int) -> None:
        """Raise PreflightError if this many new tokens leave no room for a prompt."""
        if self.context and tokens >= self.context:
            raise PreflightError(
                f"{what} = {tokens} leaves no room for a prompt in the context of {self.model}, {self.context} tokens",
                "lower it, or raise the model's max_position_embeddings",
            )

    def require_context(self, what: str, tokens: int) -> None:
        """Raise PreflightError if the context is shorter than `tokens`."""
        if self.context and tokens > self.context:
            raise PreflightError(
                f"{what} = {tokens} exceeds the context of {self.model}, {self.context} tokens",
                "lower it, or raise the model's max_position_embeddings",
            )


def model_size(key: StageKey, config: ModelConfig, artifacts: Artifacts) -> ModelFacts:
    """The facts known about the model `model.NAME`, whether or not it has been fetched."""
    made = artifacts.of(key)
    known = KnownModel.of_folder(made.path(MODEL)) if made and not made.provisional else config.source.known()
    return ModelFacts(
        key, config.max_position_embeddings or known.context, known.parameters, known.config, known.folder
    )


@lru_cache(maxsize=4)
def _tokenizer(folder: Path, tokenizer: str, config: str) -> Any:
    """The tokenizer in `folder`, loaded once for all stages. `tokenizer` and `config` say whether it is still that."""
    return load_tokenizer(folder)


KIND = Models()
