"""The questions of each step. Seed and epoch alone determine their order, so a resumed run needs no state."""

from collections.abc import Sequence
from typing import NamedTuple

from hpt_core.errors import PreflightError
from hpt_core.seeds import derive


class Cursor(NamedTuple):
    """Position in the data at which a step starts."""

    epoch: int
    position: int
    """Number of the epoch's questions that earlier steps used."""


def cursor(step: int, questions: int, per_step: int) -> Cursor:
    """The cursor of step `step` (from 0). Raises PreflightError if a step needs more questions than there are.

    An epoch consists of whole steps, so that no step uses a question twice. Each epoch leaves out its remainder, which
    is different every time.
    """
    steps_per_epoch = questions // per_step
    if steps_per_epoch == 0:
        raise PreflightError(
            f"a step uses {per_step} questions, but the data has only {questions}",
            "lower questions_per_step or add data",
        )
    return Cursor(step // steps_per_epoch, step % steps_per_epoch * per_step)


def questions_of_step(step: int, questions: int, per_step: int, seed: int) -> Sequence[int]:
    """Indices of the questions of step `step` (from 0), in canonical order. Raises PreflightError as `cursor` does."""
    import numpy as np

    epoch, position = cursor(step, questions, per_step)
    order = np.random.Generator(np.random.PCG64(derive(seed, "draw", epoch))).permutation(questions)
    return [int(i) for i in order[position : position + per_step]]
