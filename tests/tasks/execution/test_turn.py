"""Runs take turns on the devices of a machine."""

import subprocess
import sys
import threading
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest

from hpt_core.artifacts import KnownFiles, Store
from hpt_core.errors import HPTError
from tasks.execution import environment, turn
from tasks.execution.context import Context, Notice, subscribe
from tasks.execution.keys import StageKey
from tasks.execution.process import Staying

STAGE = StageKey("train", "hpt")
HOLD = """
import fcntl, sys, time
file = open(sys.argv[1], "w")
fcntl.flock(file, fcntl.LOCK_EX)
file.write("nightly train.grpo (process 7)")
file.flush()
print("held", flush=True)
time.sleep(60)
"""


@pytest.fixture
def context(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Context:
    monkeypatch.setattr(turn, "POLL_S", 0.02)
    monkeypatch.setattr(environment, "visible_devices", lambda: ("1", "0"))
    return Context(Store(str(tmp_path)), KnownFiles(tmp_path / "known"), pipeline="demo", turns=tmp_path / "turns")


def test_a_stage_waits_until_the_holder_of_a_device_is_gone(context: Context) -> None:
    assert context.turns is not None
    context.turns.mkdir()
    seen: list[Notice] = []
    waiting = threading.Event()
    unsubscribe = subscribe(lambda notice: (seen.append(notice), waiting.set())[0])
    command = [sys.executable, "-c", HOLD, str(context.turns / "1.lock")]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as holder:
        assert holder.stdout is not None and holder.stdout.readline() == "held\n"
        threading.Thread(target=lambda: (waiting.wait(20), holder.kill())).start()
        with turn.turn(STAGE, context):
            assert holder.wait(10) == -9
            for device in ("0", "1"):
                assert (context.turns / f"{device}.lock").read_text().startswith("demo train.hpt (process ")
    unsubscribe()
    text = "waiting for GPU 1, which nightly train.grpo (process 7) uses"
    assert {(n.stage, n.what, n.text) for n in seen} == {("train.hpt", "waiting", text)}


def test_a_cancelled_run_stops_waiting(context: Context) -> None:
    with turn.turn(STAGE, context):
        context.cancelled.set()
        with pytest.raises(HPTError, match="stopped while waiting for GPU 0"), turn.turn(STAGE, context):
            pass


def test_runs_by_hand_take_no_turns(context: Context, tmp_path: Path) -> None:
    with turn.turn(STAGE, Context(context.store, context.known)), turn.turn(STAGE, context):
        pass


def test_the_device_is_held_while_a_worker_stays(context: Context, monkeypatch: pytest.MonkeyPatch) -> None:
    other = replace(context, staying=Staying(), cancelled=threading.Event())
    other.cancelled.set()
    with turn.turn(STAGE, context):
        monkeypatch.setattr(context.staying, "_worker", SimpleNamespace(end=lambda: None))
    with turn.turn(StageKey("evaluate", "sft"), context):
        pass
    with pytest.raises(HPTError, match="stopped while waiting"), turn.turn(STAGE, other):
        pass
    context.staying.close()
    with turn.turn(STAGE, other):
        pass
