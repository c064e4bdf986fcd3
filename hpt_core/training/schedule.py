"""Which questions a step uses: a permutation per epoch, computed from seed and step alone, so nothing can be lost."""

from collections.abc import Sequence
from typing import NamedTuple

from hpt_core.errors import PreflightError
from hpt_core.seeds import derive


class Cursor(NamedTuple):
    """Where in the data a step starts."""

    epoch: int
    position: int
    """Questions of the epoch that earlier steps drew."""


def cursor(step: int, questions: int, per_step: int) -> Cursor:
    """The cursor of step `step` (from 0). An epoch holds whole steps, so that no question comes twice in one step;
    the remainder, other questions each epoch, is left out. Raises PreflightError where a step needs more than all.
    """
    steps_per_epoch = questions // per_step
    if steps_per_epoch == 0:
        raise PreflightError(
            f"a step uses {per_step} questions and the data hold {questions}", "lower questions_per_step or add data"
        )
    return Cursor(step // steps_per_epoch, step % steps_per_epoch * per_step)


def questions_of_step(step: int, questions: int, per_step: int, seed: int) -> Sequence[int]:
    """Indices of the questions of step `step` (from 0), in canonical order. Raises PreflightError as `cursor` does."""
    import numpy as np

    epoch, position = cursor(step, questions, per_step)
    order = np.random.Generator(np.random.PCG64(derive(seed, "draw", epoch))).permutation(questions)
    return [int(i) for i in order[position : position + per_step]]
