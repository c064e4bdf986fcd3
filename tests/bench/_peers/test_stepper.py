"""The processes that take turns in bench.speed.step."""

import sys
from pathlib import Path

import pytest

from bench._peers.environments import variables
from bench._peers.stepper import Ended, Side

CHILD = """
from bench._peers.stepper import Child
child = Child()
step = 0
while True:
    step += 1
    if step == {crash}:
        raise ValueError("out of luck")
    held = bytearray((300 if step == 2 else 10) << 20)
    held[::4096] = b"1" * len(held[::4096])
    del held
    child.pause(step=step)
"""


def start(folder: Path, crash: int = 0) -> Side:
    script = folder / "child.py"
    script.write_text(CHILD.format(crash=crash))
    return Side("child", [sys.executable, str(script)], folder / "log", variables())


def test_a_side_runs_one_step_per_request_and_exits(tmp_path: Path) -> None:
    with start(tmp_path) as side:
        facts = [side.warm(), *(side.step() for _ in range(3))]
    assert [f["step"] for f in facts] == [1, 2, 3, 4]
    assert all(f["seconds"] > 0 for f in facts)
    assert side._process.poll() == 0


def test_peak_memory_covers_only_the_step(tmp_path: Path) -> None:
    with start(tmp_path) as side:
        first = side.warm()
        second, third = side.step(), side.step()
    if not first["peak_of_step"]:
        pytest.skip("this kernel does not let a process reset its peak")
    assert second["peak_gib"] > first["peak_gib"] + 0.2
    assert third["peak_gib"] < second["peak_gib"] - 0.2
    assert second["tree_gib"] >= second["peak_gib"]


def test_a_dead_side_raises_an_error_with_the_end_of_its_log(tmp_path: Path) -> None:
    with start(tmp_path, crash=2) as side:
        side.warm()
        with pytest.raises(Ended, match="out of luck"):
            side.step()
