"""Our side of bench.speed.step: the unmodified training worker, one step at a time.

    python -m bench.speed._step_ours SPEC.json       (bench.speed.step starts it and requests the steps)

The spec's engine (bench.engines) fixes the length and the answers of responses. After each step the process waits for
the next request.
"""

import functools
from collections.abc import Mapping
from typing import Any

from bench._peers.stepper import Child
from hpt_core import train
from hpt_core.training.config import TrainSpec
from hpt_core.worker import main


@functools.cache
def child() -> Child:
    """This process's end of the pipes."""
    return Child()


class Turns(TrainSpec):
    """A run that waits after each step."""

    def after_step(self, row: Mapping[str, Any]) -> None:
        """Report the step's numbers and wait."""
        child().pause(**{name: value for name, value in row.items() if isinstance(value, int | float)})


if __name__ == "__main__":
    child()
    main(Turns, train.run)
