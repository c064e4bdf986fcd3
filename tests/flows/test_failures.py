"""Runs of a deployment that lose their processes, one after another. A real server, real workers, real signals."""

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import psutil
import pytest

pytestmark = pytest.mark.xdist_group("failures")

DEPLOY = """
import sys
from datetime import timedelta
from flows import automations
# A test does not wait long.
automations.SILENCE, automations.BEGIN_WITHIN = (timedelta(seconds=float(s)) for s in sys.argv[1:])
from flows.cli import main
main(["deploy", "tiny.toml"])
"""


PACED = '''
"""The mean over tokens. While a file `slow` is beside this one, a step takes half a second, on every machine."""

import time
from pathlib import Path

from hpt_core.upge.aggregation.token_mean import TokenMean


class Paced(TokenMean):
    def weights(self, rows):
        if Path(__file__).with_name("slow").exists():
            time.sleep(0.5)
        return super().weights(rows)
'''


def train_paced(hpt: Any) -> None:
    """Give the pipeline a training whose pace the file `slow` decides: a fast one ends before it loses a process."""
    hpt.train_too()
    paced = 'algorithm = { name = "sft", sft = { aggregation = "paced:Paced" } }'
    hpt.config.write_text(hpt.config.read_text().replace('algorithm = "sft"', paced))
    (hpt.folder / "paced.py").write_text(PACED)


def until(what: str, condition: Callable[[], Any], seconds: float = 120) -> Any:
    """The first true value of the condition. A lost run must be noticed within two minutes. It mostly takes seconds,
    but a server with SQLite that was away or is busy may answer nothing for a minute."""
    end = time.monotonic() + seconds
    while True:
        with contextlib.suppress(urllib.error.URLError, TimeoutError):
            if found := condition():
                return found
        assert time.monotonic() < end, f"not within {seconds} s: {what}"
        time.sleep(0.2)


class Deployed:
    """The tiny pipeline on the session's server, with a pool and a worker of its own."""

    def __init__(self, hpt: Any) -> None:
        self.hpt = hpt
        self.name = f"tiny-{hpt.folder.name}"[-60:]
        hpt.environment |= {"PREFECT_WORKER_QUERY_SECONDS": "1", "PREFECT_WORKER_PREFETCH_SECONDS": "1"}
        self.processes: list[subprocess.Popen[bytes]] = []
        self.slow = hpt.folder / "slow"
        self.slow.touch()

    def deploy(self, silence_s: float = 600, begin_within_s: float = 600) -> None:
        text = self.hpt.config.read_text().replace('name = "tiny"', f'name = "{self.name}"', 1)
        self.hpt.config.write_text(f'store = "{self.hpt.store}"\n{text}\n[schedule]\npool = "{self.name}"\n')
        done = self.hpt.python(DEPLOY, str(silence_s), str(begin_within_s))
        assert f"deployment pipeline/{self.name}" in done.stdout

    def worker(self) -> "subprocess.Popen[bytes]":
        command = [sys.executable, "-m", "prefect", "worker", "start", "--pool", self.name, "--name", "w"]
        with (self.hpt.folder / "worker.log").open("ab") as log:
            started = subprocess.Popen(
                command, env=self.hpt.environment, stdout=log, stderr=log, start_new_session=True
            )
        self.processes.append(started)
        return started

    def get(self, path: str) -> Any:
        with urllib.request.urlopen(f"{self.hpt.environment['PREFECT_API_URL']}/{path}", timeout=20) as answer:
            return json.load(answer)

    def start(self, suffix: str = "", **parameters: Any) -> str:
        found = self.get(f"deployments/name/pipeline/{self.name}{suffix}")
        path, body = (
            f"deployments/{found['id']}/create_flow_run",
            {"state": {"type": "SCHEDULED"}, "parameters": parameters},
        )
        return str(until("a run is created", lambda: self.hpt.api(path, body))["id"])

    def state(self, run: str) -> str:
        return str(self.get(f"flow_runs/{run}")["state"]["name"])

    def history(self, run: str) -> list[str]:
        found = self.get(f"flow_run_states/?flow_run_id={run}")
        return [state["name"] for state in sorted(found, key=lambda state: state["timestamp"])]

    def crashes(self, run: str) -> int:
        """How often the running run has crashed. A worker reports it twice, at times after the next attempt is due."""
        return list(pairwise(self.history(run))).count(("Running", "Crashed"))

    def wait_for(self, run: str, state: str, times: int) -> None:
        """Wait until the run has been in a state so often."""
        until(f"{state}, {times} times", lambda: self.history(run).count(state) >= times)

    def log(self, run: str) -> str:
        body = {"logs": {"flow_run_id": {"any_": [run]}}, "sort": "TIMESTAMP_ASC", "limit": 200}
        return "\n".join(line["message"] for line in self.hpt.api("logs/filter", body))

    def find(self, words: str) -> list[psutil.Process]:
        """Processes of this pipeline with these words in their command."""
        found = []
        for process in psutil.process_iter():
            with contextlib.suppress(psutil.Error):
                is_ours = process.environ().get("HPT_CACHE") == self.hpt.environment["HPT_CACHE"]
                if is_ours and words in " ".join(process.cmdline()) and process.status() != psutil.STATUS_ZOMBIE:
                    found.append(process)
        return found

    @contextlib.contextmanager
    def server_away(self) -> Iterator[None]:
        """Once a training has begun, the server answers nothing in the block."""
        self.checkpoint()
        port = int(self.hpt.environment["PREFECT_API_URL"].split(":")[2].removesuffix("/api"))
        (server,) = {c.pid for c in psutil.net_connections("tcp") if c.status == "LISTEN" and c.laddr.port == port}
        os.kill(server, signal.SIGSTOP)
        try:
            yield
        finally:
            os.kill(server, signal.SIGCONT)

    def of_command(self, name: str) -> str | None:
        """The newest Running run that a command of this name has started."""
        runs = self.hpt.api("flow_runs/filter", {"sort": "START_TIME_DESC", "limit": 5})
        found = (r for r in runs if r["name"].startswith(f"{name} ") and r["state"]["name"] == "Running")
        return next((str(run["id"]) for run in found), None)

    def attempts(self) -> dict[str, int]:
        """How often a worker was started for each artifact that needs one."""
        logs = {name: folder / "log.txt" for name, folder in named(self.hpt.store).items()}
        return {name: f"\n{log.read_text()}".count("\n--- ") for name, log in logs.items() if log.is_file()}

    def checkpoint(self, after: int = 0) -> int:
        """The newest checkpoint's step, once it is later than `after`."""

        def newest() -> int:
            steps = [int(p.name[5:]) for p in self.hpt.store.glob("train/*/work/checkpoints/step-*")]
            return max((step for step in steps if step > after), default=0)

        return int(until(f"a checkpoint after step {after}", newest))

    def end(self) -> None:
        for process in self.processes:
            with contextlib.suppress(ProcessLookupError):
                process.terminate()
        for process in self.processes:
            process.wait(120)
        until("no process is left", lambda: not self.find(""))


@pytest.fixture(scope="module")
def calm(finished: Any, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """The outputs of a training that nothing disturbs. Everything later depends on their hashes alone."""
    hpt = type(finished)(tmp_path_factory.mktemp("calm"), finished.environment)
    train_paced(hpt)
    hpt("train", "tiny.toml")
    return outputs_of(hpt.store)


@pytest.fixture
def deployed(fresh: Any) -> Iterator[Deployed]:
    train_paced(fresh)
    found = Deployed(fresh)
    try:
        yield found
    finally:
        found.end()


def own(processes: list[psutil.Process]) -> psutil.Process:
    """The process itself, without the supervisor above it."""
    return next(p for p in processes if "supervisor.py" not in " ".join(p.cmdline()))


def named(store: Path) -> dict[str, Path]:
    """Name of each artifact of the store's pipeline -> its folder."""
    (pipeline,) = (store / "by-pipeline").iterdir()
    return {str(link.relative_to(pipeline)): link for link in pipeline.rglob("*") if link.is_symlink()}


def outputs_of(store: Path) -> dict[str, Any]:
    """Hashes of the outputs of everything that a pipeline has made, without the log, which has times."""
    found = {name: json.loads((f / "manifest.json").read_text())["outputs"] for name, f in named(store).items()}
    return {name: {k: v for k, v in outputs.items() if k != "log"} for name, outputs in found.items()}


def test_a_run_continues_whatever_process_it_loses(deployed: Deployed, calm: dict[str, Any]) -> None:
    deployed.deploy()
    worker = deployed.worker()
    run = deployed.start("-train")
    step = crashes = 0
    with deployed.server_away():
        # Ten seconds in which nothing is answered: no stage waits.
        step = deployed.checkpoint(deployed.checkpoint())
        time.sleep(10)
        step = deployed.checkpoint(step)
    for what in ("stage", "flow asked", "flow", "worker asked", "worker"):
        step = deployed.checkpoint(step)
        if what == "stage":
            # The run goes on by itself.
            own(deployed.find("hpt_core.train ")).kill()
            continue
        if what.startswith("flow"):
            flow = own(deployed.find("flows.engine flow"))
            flow.terminate() if what == "flow asked" else flow.kill()
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
    assert log.count("resuming after step ") == 5
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
