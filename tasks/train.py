"""Training: `python -m hpt_core.train`."""

import json
from collections.abc import Sequence
from typing import Any

from hpt_core import prompts, training, upge, verifiers
from hpt_core.artifacts import Cost, FileEntry, outputs_hash
from hpt_core.base import Frozen
from hpt_core.config import TrainConfig, TrainSpec
from tasks import environment
from tasks.context import Context
from tasks.part import Mades, Making, Part, Stage, Unit


class TrainPart(Part):
    """A trained model, its log and its rollouts. A run that was cut short goes on from its newest checkpoint."""

    keeps_output = True

    def __init__(self, key: str, config: TrainConfig, prompt: Frozen, seed: int) -> None:
        self.key = key
        self.config = config
        self.prompt = prompt
        self.seed = seed if config.seed is None else config.seed

    def units(self, made: Mades, context: Context) -> list[Unit]:
        """Depends on the model to start from and on the prepared rows."""
        model, data = made[self.config.from_], made[self.config.data]
        config = {**self.config.identity(), "seed": self.seed, "prompt": self.prompt.model_dump(mode="json")}
        versions = {
            "estimator": str(upge.VERSION),
            "trainer": str(training.VERSION),
            "prompts": str(prompts.VERSION),
        }
        if self.config.uses_rollouts:
            versions["engine"] = environment.engine_version(self.config.engine)
            versions |= {kind: verifiers.version(kind) for kind in ("math", "choice")}
        inputs = {"model": model.hash("model"), "prepared": data.hash("prepared")}
        return [Unit(self.key, "train", config, versions, inputs, model.provisional or data.provisional)]

    def make(self, jobs: Sequence[Making], made: Mades, context: Context) -> Cost:
        """Run the worker."""
        (job,) = jobs
        spec = TrainSpec(
            config=self.config,
            prompt=self.prompt,
            model=made[self.config.from_].output / "model",
            data=made[self.config.data].output / "prepared.parquet",
            seed=self.seed,
            verifier_workers=context.workers,
            threads=context.threads,
            work=job.slot.work,
            output=job.slot.output,
        )
        return context.worker(self.key, "hpt_core.train", spec, [job.slot])

    def outputs(self, job: Making, files: tuple[FileEntry, ...]) -> dict[str, str]:
        """`model` for those that use the weights, `log` for the report."""
        return {"model": outputs_hash(files, "model"), "log": outputs_hash(files, "log.parquet")}

    def facts(self, job: Making) -> dict[str, Any]:
        """The trainer's summary."""
        found: dict[str, Any] = json.loads((job.slot.output / "summary.json").read_text(encoding="utf-8"))
        return found


def stage(name: str, config: TrainConfig, prompt: Frozen, seed: int) -> Stage:
    """`train.NAME`."""
    key = f"train.{name}"
    return Stage(key, (config.from_, config.data), (TrainPart(key, config, prompt, seed),))
