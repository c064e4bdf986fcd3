"""Runs of a deployment that lose their processes, one after another. A real server, real workers, real signals."""

import contextlib
import os
import shutil
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from bench.failures import kills
from bench.failures.bed import Bed, measure_calm
from tests.flows.pipelines import Deployed, outputs_of, own, train_paced, until
from tests.server import Server

# On a busy machine, a run that loses six processes takes ten minutes.
pytestmark = [pytest.mark.xdist_group("failures"), pytest.mark.timeout(1500)]


@pytest.fixture(scope="module")
def calm(finished: Any, private_server: Server, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """The outputs of a training that nothing disturbs. Everything later depends on their hashes alone."""
    hpt = type(finished)(tmp_path_factory.mktemp("calm"), private_server.environment)
    shutil.copytree(finished.store / "model", hpt.store / "model", symlinks=True)
    train_paced(hpt)
    hpt("train", "tiny.toml")
    return outputs_of(hpt.store)


@pytest.fixture
def deployed(fresh: Any, private_server: Server) -> Iterator[Deployed]:
    fresh.environment |= private_server.environment
    train_paced(fresh)
    found = Deployed(fresh)
    try:
        yield found
    finally:
        found.end()


@pytest.mark.long
@pytest.mark.kills
def test_a_run_continues_whatever_process_is_killed(deployed: Deployed, calm: dict[str, Any]) -> None:
    deployed.deploy()
    worker = deployed.worker()
    run = deployed.start("-train")
    step = crashes = 0
    with deployed.server_away():
        # Ten seconds in which nothing is answered: no stage waits.
        step = deployed.checkpoint(deployed.checkpoint())
        time.sleep(10)
        step = deployed.checkpoint(step)
    for what in ("stage", "flow", "flow asked", "flow asked twice", "worker asked", "worker"):
        step = deployed.checkpoint(step)
        if what == "stage":
            # The run goes on by itself.
            own(deployed.find("hpt_core.train ")).kill()
            continue
        if what.startswith("flow"):
            flow = own(deployed.find("flows.engine flow"))
            flow.kill() if what == "flow" else flow.terminate()
            if what == "flow asked twice":
                until("it is ending", lambda: not deployed.find("hpt_core.train "))
                with contextlib.suppress(psutil.NoSuchProcess):
                    flow.terminate()
        else:
            os.kill(worker.pid, signal.SIGTERM if what == "worker asked" else signal.SIGKILL)
            worker.wait(120)
            until("no process outlives the worker", lambda: not deployed.find(""))
            assert deployed.crashes(run) == crashes + 1
            worker = deployed.worker()
        crashes += 1
        until(f"crash {crashes}", lambda n=crashes: deployed.crashes(run) == n)
        deployed.wait_for(run, "Running", crashes + 1)
    deployed.slow.unlink()
    wrong = deployed.start("-train", set=["train.sft.no_such=1"])
    until("the run is complete", lambda: deployed.state(run) == "Completed")
    assert deployed.get(f"flow_runs/{run}")["run_count"] == crashes + 1
    assert outputs_of(deployed.hpt.store) == calm
    attempts = deployed.attempts()
    assert attempts.pop("train.sft") == crashes + 2
    assert set(attempts.values()) == {1}
    log = (deployed.hpt.store / f"by-pipeline/{deployed.name}/train.sft/log.txt").read_text()
    assert log.count("resuming after step ") == 6
    # What is wrong stays wrong.
    deployed.wait_for(wrong, "Failed", 1)
    assert "AwaitingRetry" not in deployed.history(wrong)
    assert "no_such" in deployed.get(f"flow_runs/{wrong}")["state"]["message"]


def test_no_run_stays_running_when_all_its_processes_are_gone(deployed: Deployed) -> None:
    deployed.deploy(silence_s=35, begin_within_s=10)
    # A machine that loses its power.
    worker = deployed.worker()
    run = deployed.start("-train")
    step = deployed.checkpoint()
    for process in [psutil.Process(worker.pid), *deployed.find("")]:
        with contextlib.suppress(psutil.NoSuchProcess):
            process.kill()
    # What a worker leaves that is killed after it has taken a run.
    pending = deployed.start()
    taken = {"state": {"type": "PENDING"}}
    until("it is taken", lambda: deployed.hpt.api(f"flow_runs/{pending}/set_state", taken))
    by_hand = {}
    for number in (signal.SIGTERM, signal.SIGKILL):
        process = deployed.hpt.start("run", "tiny.toml", "--set", f"train.sft.seed={number}", "--set", "name='by-hand'")
        by_hand[number] = until("the run is Running", lambda: deployed.of_command("by-hand"))
        process.send_signal(number)
        _, err = process.communicate(timeout=120)
        assert process.returncode == (128 + number if number == signal.SIGTERM else -number), err
    assert deployed.state(by_hand[signal.SIGTERM]) == "Crashed"
    for lost in (pending, run):
        deployed.wait_for(lost, "AwaitingRetry", 1)
    assert deployed.history(pending)[-2:] == ["Crashed", "AwaitingRetry"]
    assert deployed.history(run)[-3:] == ["Running", "Crashed", "AwaitingRetry"]
    deployed.hpt.prefect("flow-run", "cancel", pending)
    assert deployed.state(pending) == "Cancelled"

    # The next worker continues it, and a cancellation ends it with its checkpoint.
    deployed.worker()
    step = deployed.checkpoint(step)
    deployed.hpt.prefect("flow-run", "cancel", run)
    until("the run is Cancelled", lambda: deployed.state(run) == "Cancelled")
    until("no process of the run is left", lambda: not deployed.find("hpt_core.train"))
    assert deployed.checkpoint() >= step
    until("the killed command's run is Crashed", lambda: deployed.state(by_hand[signal.SIGKILL]) == "Crashed")
    assert deployed.history(run)[-1] == "Cancelled"


@pytest.mark.long
@pytest.mark.kills
def test_random_kills_change_nothing_but_the_time(private_server: Server, tmp_path: Path) -> None:
    undisturbed = measure_calm(tmp_path / "calm", private_server)
    row = kills.case(lambda name: Bed.with_training(tmp_path / name, private_server, undisturbed, ["*"]), 5, seed=5)
    assert (row.equal, row.orphans, row.wrong) == (True, 0, []), row
