"""Training questions: `python -m hpt_core.data.prepare`."""

import json
from collections.abc import Sequence
from typing import Any

from hpt_core import prompts, verifiers
from hpt_core.artifacts import Cost, FileEntry, outputs_hash
from hpt_core.base import Frozen
from hpt_core.data import decontaminate
from hpt_core.data.config import DataConfig
from hpt_core.data.prepare import PrepareSpec
from tasks.context import Context
from tasks.part import Mades, Making, Part, Stage, Unit


class PreparePart(Part):
    """prepared.parquet and the report that counts what was dropped."""

    def __init__(self, key: str, config: DataConfig, prompt: Frozen) -> None:
        self.key = key
        self.config = config
        self.prompt = prompt

    def units(self, made: Mades, context: Context) -> list[Unit]:
        """Depends on the tokenizer, not on the weights, and on every question that must not appear."""
        config = self.config.model_dump(mode="json", exclude={"source", "model", "decontaminate"})
        config["source"] = self.config.source.identity(context.data_dir)
        config["prompt"] = self.prompt.model_dump(mode="json")
        if context.strict:
            # An output that was made with malformed rows left out is no answer to --strict; the same rows come out.
            config["strict"] = True
        sources = [made[self.config.model], *(made[f"benchmark.{n}"] for n in self.config.decontaminate)]
        inputs = {"tokenizer": sources[0].hash("tokenizer")}
        inputs |= {f"benchmark.{n}": made[f"benchmark.{n}"].hash("questions") for n in self.config.decontaminate}
        graders = {} if self.config.unverified == "keep" else {k: verifiers.version(k) for k in ("math", "choice")}
        versions = {"prompts": str(prompts.VERSION), "decontaminate": str(decontaminate.VERSION), **graders}
        return [Unit(self.key, "data", config, versions, inputs, any(m.provisional for m in sources))]

    def make(self, jobs: Sequence[Making], made: Mades, context: Context) -> Cost:
        """Run the worker."""
        (job,) = jobs
        names = self.config.decontaminate
        spec = PrepareSpec(
            config=self.config,
            prompt=self.prompt,
            model=made[self.config.model].output / "model",
            benchmarks={n: made[f"benchmark.{n}"].output / "questions.parquet" for n in names},
            data_dir=context.data_dir,
            strict=context.strict,
            workers=context.workers,
            output=job.slot.output,
        )
        return context.worker(self.key, "hpt_core.data.prepare", spec, [job.slot])

    def outputs(self, job: Making, files: tuple[FileEntry, ...]) -> dict[str, str]:
        """`prepared`: the rows."""
        return {"prepared": outputs_hash(files, "prepared.parquet")}

    def facts(self, job: Making) -> dict[str, Any]:
        """The report."""
        found: dict[str, Any] = json.loads((job.slot.output / "report.json").read_text(encoding="utf-8"))
        return found

    def needs(self, context: Context) -> str:
        """A download, or nothing."""
        return str(self.config.source.needs(context.data_dir))


def stage(name: str, config: DataConfig, prompt: Frozen) -> Stage:
    """`data.NAME`."""
    key = f"data.{name}"
    after = (config.model, *(f"benchmark.{n}" for n in config.decontaminate))
    return Stage(key, after, (PreparePart(key, config, prompt),))
