"""A kind of stage that does nothing, in this process or in a worker program."""

import os
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

from hpt_core import worker
from hpt_core.artifacts import Cost
from hpt_core.base import Frozen
from hpt_core.files import write_json
from tasks.execution.artifact import Artifacts, Job, Stage, Step, Target
from tasks.execution.config import PipelineConfig
from tasks.execution.context import Context
from tasks.execution.keys import Output, Reference, StageKey
from tasks.execution.kind import NamedStages, StageConfig

RESULT = Output("result", "result.json")


class Config(StageConfig):
    """An idle stage."""

    after: tuple[Annotated[StageKey, Reference(RESULT)], ...] = ()
    """The stages before it."""
    number: int
    """Distinguishes it from others."""
    in_worker: bool = False
    """Whether a worker program does nothing, instead of this process."""


class Spec(Frozen):
    """The worker's spec."""

    output: Path


class IdleStep(Step):
    """A file with the times of the process that wrote it."""

    kind = "idle"
    produces = (RESULT,)

    def __init__(self, stage: StageKey, config: Config) -> None:
        super().__init__(stage)
        self.config = config

    def targets(self, artifacts: Artifacts, context: Context) -> list[Target]:
        """One target."""
        inputs = {f"after {i}": (artifacts[key], RESULT) for i, key in enumerate(self.config.after)}
        return [self.target({"number": self.config.number}, inputs)]

    def make(self, jobs: Sequence[Job], artifacts: Artifacts, context: Context) -> Cost:
        """Write the file."""
        (job,) = jobs
        if self.config.in_worker:
            return context.worker(self.stage, __name__, Spec(output=job.slot.output), [job.slot])
        run(Spec(output=job.slot.output))
        return Cost()


class Idle(NamedStages):
    """Stages that do nothing."""

    config = Config
    produces = (RESULT,)
    command = None

    def stage(self, key: StageKey, config: Config, pipeline: PipelineConfig) -> Stage:
        """A stage after the others."""
        return Stage(key, config.after, (IdleStep(key, config),))


IDLE = Idle()


def age() -> float:
    """Seconds since this process was started, to 10 ms. As a time of the day, its start is known to a second only."""
    fields = Path("/proc/self/stat").read_text().rpartition(")")[2].split()
    began = int(fields[19]) / os.sysconf("SC_CLK_TCK")
    return time.clock_gettime(time.CLOCK_BOOTTIME) - began


def run(spec: Spec) -> None:
    """The worker's work: says how old its process is at its end."""
    write_json(spec.output / RESULT.path, {"seconds": age()})


if __name__ == "__main__":
    worker.main(Spec, run)
