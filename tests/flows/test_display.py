"""The progress display of a run."""

import io
import time
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from flows.display import RECENT, Display, Pace, StageLine
from tasks.execution.context import Notice

STEP = "reward 0.250, to demonstrations 0.50, loss 0.1000"


def progress(done: int, text: str = "", total: int = 10) -> Notice:
    return Notice("train.hpt", "progress", text, done, total, "steps")


def test_the_time_left_counts_the_remaining_steps() -> None:
    pace = Pace()
    pace.take(0.0, 0, 10)
    assert pace.left(0.0) is None
    pace.take(4.0, 2, 10)
    assert pace.left(4.0) == pytest.approx(16.0)
    assert pace.left(5.0) == pytest.approx(15.0), "it counts down between steps"
    assert pace.left(100.0) == 0.0
    pace.take(6.0, 2, 10)
    assert pace.left(6.0) == pytest.approx(14.0), "news of the same step are no advance"
    pace.take(20.0, 10, 10)
    assert pace.left(20.0) is None


def test_finished_work_of_a_resumed_stage_does_not_count_as_pace() -> None:
    pace = Pace()
    pace.take(0.0, 90, 100)
    pace.take(5.0, 91, 100)
    assert pace.left(5.0) == pytest.approx(45.0)


def test_a_new_count_restarts_the_pace() -> None:
    pace = Pace()
    for now, done in ((0.0, 1), (1.0, 2)):
        pace.take(now, done, 4)
    pace.take(2.0, 0, 400)
    assert pace.left(2.0) is None
    pace.take(4.0, 100, 400)
    assert pace.left(4.0) == pytest.approx(6.0)


@given(st.floats(0.1, 100), st.integers(2, 3 * RECENT))
def test_the_pace_follows_the_recent_steps(each: float, steps: int) -> None:
    pace = Pace()
    pace.take(0.0, 0, 1000)
    pace.take(1e5, 1, 1000)
    for step in range(RECENT + steps):
        pace.take(1e5 + each * (step + 1), 2 + step, 1000)
    now = 1e5 + each * (RECENT + steps)
    assert pace.left(now) == pytest.approx(each * (1000 - 1 - RECENT - steps), rel=1e-6)


def test_a_steps_result_stays_visible_while_the_next_step_samples() -> None:
    line = StageLine()
    texts = []
    for notice in (
        progress(0, "loading the model"),
        progress(0, "step 1: 3/64 rollouts"),
        progress(1, STEP),
        progress(1, "step 2: 3/64 rollouts"),
        progress(2, "reward 0.5"),
        progress(2, ""),
        Notice("train.hpt", "failed", "no memory"),
    ):
        line.take(notice, 0.0)
        texts.append(line.text)
    assert texts == [
        "loading the model",
        "step 1: 3/64 rollouts",
        STEP,
        f"{STEP}; step 2: 3/64 rollouts",
        "reward 0.5",
        "reward 0.5",
        "no memory",
    ]


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[float]]:
    """The time, as a list of one number to set."""
    now = [1000.0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    yield now


def shown(display: Display) -> str:
    console = Console(file=io.StringIO(), width=160, force_terminal=False)
    console.print(display)
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


def test_a_training_stage_shows_progress_reward_gated_share_and_time_left(clock: list[float]) -> None:
    display = Display(["model.base", "train.hpt"], Console(file=io.StringIO(), force_terminal=False))
    for done, text in ((0, "loading the model"), (1, STEP), (2, STEP)):
        clock[0] += 30
        display._take(progress(done, text))
    (waiting, training) = shown(display).splitlines()
    assert waiting.split() == ["model.base", "waits"]
    for part in (
        "train.hpt",
        "1:00 min",
        "━━━━",
        "2/10 steps",
        "4:00 min left",
        "reward 0.250",
        "to demonstrations 0.50",
    ):
        assert part in training


def test_without_a_terminal_progress_lines_are_throttled(clock: list[float]) -> None:
    console = Console(file=io.StringIO(), force_terminal=False, width=160, soft_wrap=True)
    display = Display(["train.hpt"], console)
    for done in range(9):
        clock[0] += 10
        display._take(progress(done, STEP))
    display._take(Notice("train.hpt", "made"))
    assert isinstance(console.file, io.StringIO)
    lines = console.file.getvalue().splitlines()
    assert len(lines) == 6, "every 15 seconds at most, and the end"
    assert "2/10 steps  1:20 min left  reward 0.250, to demonstrations 0.50" in lines[1]
    assert lines[-1].endswith("train.hpt: done in 1:20 min")
