"""Sampling configs and the test for runaway repetition."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from hpt_core.rollout.base import Sampling, StopRepetition


@given(st.lists(st.integers(0, 9), max_size=20), st.lists(st.integers(0, 9), min_size=2, max_size=6), st.integers(2, 5))
def test_repetition_is_found(before, stretch, times):
    stop = StopRepetition(times=times, shortest=2, longest=6)
    assert stop.holds([*before, *stretch * times])


@given(st.lists(st.integers(0, 2), max_size=40), st.integers(2, 4), st.integers(1, 3), st.integers(0, 3))
def test_text_without_repetition_is_not_found(tokens, times, shortest, more):
    stop = StopRepetition(times=times, shortest=shortest, longest=shortest + more)
    repeats = any(
        len(tokens) >= n * times and tokens[len(tokens) - n * times :] == tokens[len(tokens) - n :] * times
        for n in range(shortest, shortest + more + 1)
    )
    assert stop.holds(tokens) == repeats


def test_a_long_number_is_not_repetition():
    assert not StopRepetition().holds([3] * 60)
    assert StopRepetition().holds([3] * 64)


def test_without_early_stop_the_protocol_is_unchanged():
    assert Sampling().model_dump(mode="json") == {"temperature": 1.0, "top_p": 1.0, "max_tokens": 8192}
    assert Sampling(stop_repetition=StopRepetition()).model_dump(mode="json")["stop_repetition"]["times"] == 8


def test_lengths_in_the_wrong_order_are_refused():
    with pytest.raises(ValidationError, match="raise longest"):
        StopRepetition(shortest=9, longest=8)
