"""Training: `python -m hpt_core.train`, in one process or, by a launcher, in several."""

import json
import os
from collections.abc import Sequence
from typing import Any

from hpt_core import prompts, training, upge, verifiers
from hpt_core.artifacts import Cost, FileEntry, Slot, outputs_hash
from hpt_core.base import Frozen
from hpt_core.training.config import TrainConfig, TrainSpec
from tasks import environment, process
from tasks.context import Context
from tasks.part import Mades, Making, Part, Stage, Unit

MODULE = "hpt_core.train"
"""The worker program."""


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
        if self.config.uses_engine:
            versions["engine"] = environment.engine_version(self.config.engine)
            versions |= {kind: verifiers.version(kind) for kind in ("math", "choice")}
        inputs = {"model": model.hash("model"), "prepared": data.hash("prepared")}
        return [Unit(self.key, "train", config, versions, inputs, model.provisional or data.provisional)]

    def make(self, jobs: Sequence[Making], made: Mades, context: Context) -> Cost:
        """Run the worker, in as many processes as the context says."""
        (job,) = jobs
        spec = self.spec(job.slot, made, context)
        launcher = process.launcher(environment.training_processes(context.processes), context.launcher)
        return context.worker(self.key, MODULE, spec, [job.slot], spec.threads, launcher)

    def spec(self, slot: Slot, made: Mades, context: Context) -> TrainSpec:
        """What the worker reads; its work and its output lie in the slot, and what trackers write beside them."""
        return TrainSpec(
            config=self.config,
            prompt=self.prompt,
            model=made[self.config.from_].output / "model",
            data=made[self.config.data].output / "prepared.parquet",
            seed=self.seed,
            verifier_workers=context.workers,
            threads=self._threads(context),
            trackers=context.trackers,
            run_name=f"{context.pipeline} {self.key}".strip(),
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
