"""The order of training questions."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hpt_core.errors import PreflightError
from hpt_core.training.schedule import cursor, questions_of_step


@given(questions=st.integers(1, 60), per_step=st.integers(1, 20), seed=st.integers(0, 5))
def test_no_question_twice_in_an_epoch(questions: int, per_step: int, seed: int) -> None:
    if questions < per_step:
        with pytest.raises(PreflightError, match=f"uses {per_step} questions, but the data has only {questions}"):
            questions_of_step(0, questions, per_step, seed)
        return
    steps = questions // per_step
    epoch = [i for step in range(steps) for i in questions_of_step(step, questions, per_step, seed)]
    assert len(set(epoch)) == len(epoch) == steps * per_step
    assert set(epoch) <= set(range(questions))


def test_epochs_differ_and_seeds_differ() -> None:
    assert questions_of_step(0, 40, 10, seed=1) != questions_of_step(4, 40, 10, seed=1)
    assert questions_of_step(0, 40, 10, seed=1) != questions_of_step(0, 40, 10, seed=2)
    assert questions_of_step(7, 40, 10, seed=1) == questions_of_step(7, 40, 10, seed=1)


def test_cursor_counts_epochs_and_positions() -> None:
    assert cursor(0, 45, 10) == (0, 0)
    assert cursor(3, 45, 10) == (0, 30)
    assert cursor(4, 45, 10) == (1, 0)
