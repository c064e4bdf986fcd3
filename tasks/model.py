"""Models to start from: `python -m hpt_core.models.materialize` fills a folder."""

import json
from collections.abc import Sequence
from typing import Any

from hpt_core.artifacts import Cost, FileEntry
from hpt_core.models.materialize import ModelConfig, ModelSpec
from tasks.context import Context
from tasks.part import Mades, Making, Part, Stage, Unit


class ModelPart(Part):
    """One model folder."""

    def __init__(self, key: str, config: ModelConfig) -> None:
        self.key = key
        self.config = config

    def units(self, made: Mades, context: Context) -> list[Unit]:
        """The source's identity and the overrides. Raises ModelError where a local folder is missing or incomplete."""
        overrides = self.config.model_dump(mode="json", exclude={"source"}, exclude_none=True)
        return [Unit(self.key, "model", {"source": self.config.source.identity(), **overrides}, {}, {})]

    def make(self, jobs: Sequence[Making], made: Mades, context: Context) -> Cost:
        """Run the worker."""
        (job,) = jobs
        spec = ModelSpec(config=self.config, output=job.slot.output)
        return context.worker(self.key, "hpt_core.models.materialize", spec, [job.slot])

    def outputs(self, job: Making, files: tuple[FileEntry, ...]) -> dict[str, str]:
        """`model` for those that use its weights, `tokenizer` for those that count tokens alone."""
        found = json.loads((job.slot.output / "model.json").read_text(encoding="utf-8"))
        return {"model": found["weights_id"], "tokenizer": found["tokenizer_id"]}

    def facts(self, job: Making) -> dict[str, Any]:
        """What the worker wrote about the model."""
        found: dict[str, Any] = json.loads((job.slot.output / "model.json").read_text(encoding="utf-8"))
        return found

    def needs(self, context: Context) -> str:
        """A download, or nothing."""
        return str(self.config.source.needs())


def stage(name: str, config: ModelConfig) -> Stage:
    """`model.NAME`."""
    key = f"model.{name}"
    return Stage(key, (), (ModelPart(key, config),))
