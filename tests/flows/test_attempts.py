"""One process for a flow run, and one scheduled run of a deployment."""

import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from prefect.client.schemas.objects import State
from prefect.exceptions import Abort
from prefect.states import AwaitingRetry, Cancelled, Completed, Crashed, Failed, Pending, Running, Scheduled

from flows.attempts import HORIZON, MESSAGE, MOST, StillRunning, ended_before, sole
from hpt_core.artifacts import Store, lease
from hpt_core.errors import WorkerLost

RETRY = AwaitingRetry(message=MESSAGE)
LOST = [Scheduled(), Pending(), Running(), Crashed()]
HOLD = """
import sys, time
from pathlib import Path
from hpt_core.artifacts import Lease, lease
lease.LENGTH_S = 2.0
with Lease(Path(sys.argv[1]), 2.0).held():
    print("held", flush=True)
    time.sleep(60)
"""


def context(run: str, scheduled: bool = True) -> Any:
    return SimpleNamespace(flow_run=SimpleNamespace(id=run, deployment_id="d", auto_scheduled=scheduled))


@contextmanager
def held(file: Path) -> Iterator["subprocess.Popen[str]"]:
    """A process that holds a lease, and renews it every half second."""
    with subprocess.Popen([sys.executable, "-c", HOLD, str(file)], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "held\n"
        try:
            yield process
        finally:
            process.kill()


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(str(tmp_path))


@pytest.mark.parametrize(
    ("states", "ended"),
    [
        (LOST[:3], None),
        ([*LOST, RETRY, Pending(), Running()], None),
        # The server has handled a crash late.
        ([*LOST, Running(), Completed(), RETRY, Pending(), Running()], "COMPLETED"),
        ([*LOST, RETRY, Pending(), Running(), Cancelled(), RETRY, Pending(), Running()], "CANCELLED"),
        ([*LOST, Failed(), RETRY, Running()], "FAILED"),
        # A worker that is stopped kills the process of a run that has just ended.
        ([*LOST, RETRY, Pending(), Running(), Completed(), LOST[-1], RETRY, Running()], "COMPLETED"),
        # Somebody wants it again.
        ([*LOST, Running(), Completed(), AwaitingRetry(), Running()], None),
    ],
)
def test_only_a_lost_run_is_attempted_again(states: list[State], ended: str | None) -> None:
    found = ended_before(states)
    assert (found and found.type.value) == ended


def test_a_run_is_not_attempted_for_ever() -> None:
    again = [RETRY, Pending(), Running(), Crashed()]
    last = again[:3]
    assert ended_before([*LOST, *again * (MOST - 1), *last]) is None
    with pytest.raises(WorkerLost, match="lost its worker 6 times within 1 h"):
        ended_before([*LOST, *again * MOST, *last])
    long_ago = RETRY.model_copy(update={"timestamp": RETRY.timestamp - HORIZON})
    assert ended_before([*LOST, long_ago, *again[1:], *again * (MOST - 1), *last]) is None
    # A worker reports a crash twice; in between, the server may have acted on the first report.
    assert ended_before([*LOST, *[RETRY, Crashed(), *again] * (MOST - 1), RETRY, RETRY, *last]) is None


def test_a_second_process_leaves_the_run_alone(store: Store) -> None:
    """A server that was away for minutes believes that a run is lost, and schedules it again."""
    file = store.root / ".leases" / "run-r.json"
    with held(file) as process:
        with pytest.raises(Abort, match=f"in progress already: process {process.pid} on "), sole(context("r"), store):
            pass
        process.kill()
        process.wait()
        began = time.monotonic()
        with sole(context("r"), store):
            assert time.monotonic() - began < 1
    assert not file.exists()


def test_scheduled_runs_do_not_pile_up(store: Store) -> None:
    with held(store.root / ".leases" / "deployment-d.json"):
        with pytest.raises(StillRunning, match="an earlier scheduled run has not ended"), sole(context("r"), store):
            pass
        # A run that somebody starts by hand is meant.
        with sole(context("r", scheduled=False), store):
            pass
    assert lease.LENGTH_S == 60


def test_a_run_without_a_deployment_needs_no_lease(store: Store) -> None:
    with sole(None, store), sole(SimpleNamespace(flow_run=SimpleNamespace(id="r", deployment_id=None)), store):  # type: ignore[arg-type]
        assert not (store.root / ".leases").exists()
