"""A worker that stays between two stages."""

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from hpt_core.base import Frozen
from hpt_core.errors import DataError, WorkerTimeout
from tasks.execution.process import Event, Staying, WorkerRun, run

PROGRAM = """
import logging, os, time
from hpt_core.base import Frozen
from hpt_core.errors import DataError
from hpt_core.worker import Declined, emit, main

class Spec(Frozen):
    name: str
    does: str = ""

started = []

def work(spec):
    started.append(spec.name)
    emit("progress", done=len(started), total=9, unit="specs", text=str(os.getpid()))
    if spec.does == "declines" and len(started) > 1:
        raise Declined
    if spec.does == "fails":
        raise DataError("no data", "add some")
    if spec.does == "hangs":
        time.sleep(100)
    sum(range(2_000_000))
    logging.getLogger("hpt").info("log of %s", spec.name)

main(Spec, work)
"""


class Spec(Frozen):
    name: str
    does: str = ""


class Runs:
    """Runs specs and remembers the events of each."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.staying = Staying()
        self.events: dict[str, list[Event]] = {}

    def job(self, name: str, does: str = "", timeout_s: float | None = None, module: str = "stays") -> WorkerRun:
        folder = self.folder / name
        folder.mkdir(exist_ok=True)
        spec = Spec(name=name, does=does)
        return WorkerRun(
            *(f"evaluate.{name}", module, spec, folder / "spec.json", [folder / "log.txt"], timeout_s),
            environment={"PYTHONPATH": os.pathsep.join([str(self.folder), os.environ.get("PYTHONPATH", "")])},
        )

    def __call__(self, name: str, does: str = "", timeout_s: float | None = None, module: str = "stays") -> int:
        """The process id of the worker."""
        events = self.events[name] = []
        cost = self.staying.run(self.job(name, does, timeout_s, module), events.append)
        assert 0 < cost.cpu_seconds < 10 and cost.peak_memory_bytes > 10_000_000
        return self.pid(name)

    def pid(self, name: str) -> int:
        """The process id of the worker that ran a spec."""
        return int(self.events[name][-1]["text"])

    def log(self, name: str) -> str:
        return (self.folder / name / "log.txt").read_text()


@pytest.fixture
def runs(tmp_path: Path) -> Iterator[Runs]:
    for module in ("stays", "other"):
        (tmp_path / f"{module}.py").write_text(PROGRAM)
    found = Runs(tmp_path)
    yield found
    found.staying.close()


def test_one_process_runs_several_specs_with_their_own_logs_and_events(runs: Runs) -> None:
    assert runs("a") == runs("b") == runs("c")
    assert [[event["done"] for event in runs.events[name]] for name in "abc"] == [[1], [2], [3]]
    for name in "abc":
        lines = runs.log(name).splitlines()
        assert lines[0].endswith(f"UTC evaluate.{name}: python -m stays {runs.folder / name / 'spec.json'}")
        assert [line.partition("hpt: ")[2] for line in lines[1:]] == [f"log of {name}"]
    process = psutil.Process(runs.pid("a"))
    runs.staying.close()
    assert not process.is_running()


def test_a_spec_that_the_worker_declines_gets_a_new_one(runs: Runs) -> None:
    first = runs("a")
    second = runs("b", "declines")
    assert second != first and not psutil.pid_exists(first)
    assert runs("c") == second


def test_another_program_or_a_worker_that_was_killed_is_replaced(runs: Runs) -> None:
    first = runs("a")
    second = runs("b", module="other")
    assert not psutil.pid_exists(first)
    killed = psutil.Process(second)
    supervisor = killed.parent()
    os.kill(second, signal.SIGKILL)
    if supervisor is not None:
        supervisor.wait(10)
    assert runs("c", module="other") not in (first, second)


def test_an_error_or_the_time_limit_of_a_later_spec_ends_the_worker(runs: Runs) -> None:
    first = runs("a")
    with pytest.raises(DataError, match=r"evaluate\.b: no data. Remedy: add some"):
        runs("b", "fails")
    second = runs("c")
    assert second != first
    with pytest.raises(WorkerTimeout, match=r"evaluate\.d: ended after its time limit of 0\.5 s"):
        runs("d", "hangs", timeout_s=0.5)
    assert not psutil.pid_exists(second)
    assert runs("e", timeout_s=100) != second


def test_without_staying_the_program_runs_one_spec(runs: Runs) -> None:
    events: list[Event] = []
    assert run(runs.job("a"), events.append).cpu_seconds > 0
    assert not psutil.pid_exists(int(events[-1]["text"]))
