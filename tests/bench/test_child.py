"""Measurements in separate processes."""

import os
from pathlib import Path

import pytest

from bench import child
from bench.machine import ROOT

PROGRAM = """
import sys, time
from bench import child
def measure(number, wait=0.0):
    print("noise")
    time.sleep(wait)
    return {"twice": 2 * number}
child.answer(measure)
"""


@pytest.fixture
def environment(tmp_path: Path) -> dict[str, str]:
    (tmp_path / "program.py").write_text(PROGRAM)
    return {**os.environ, "PYTHONPATH": f"{ROOT}{os.pathsep}{tmp_path}"}


def test_the_last_line_is_the_result(environment: dict[str, str]) -> None:
    assert child.call("program", {"number": 4}, environment) == {"twice": 8}


def test_a_failure_or_timeout_exits(environment: dict[str, str]) -> None:
    with pytest.raises(child.Failed, match="exit code 1"):
        child.call("program", {"numbre": 4}, environment)
    with pytest.raises(child.Failed, match="longer than 1 s"):
        child.call("program", {"number": 4, "wait": 30}, environment, timeout_s=1.0)
