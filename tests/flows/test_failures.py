"""Runs of a deployment that lose their processes, one after another. A real server, real workers, real signals."""

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from typing import Any

import psutil
import pytest

pytestmark = pytest.mark.xdist_group("failures")

DEPLOY = """
import sys
from datetime import timedelta
from flows import automations
# A test crashes one run often, and waits for nobody.
automations.QUIET = timedelta(seconds=1)
automations.BEGIN_WITHIN = timedelta(seconds=float(sys.argv[1]))
from flows.cli import main
main(["deploy", "tiny.toml"])
"""
LONG = 600.0
"""Seconds within which a run has to begin, if a test does not want it to be lost."""


def until(what: str, condition: Callable[[], Any], seconds: float = 60) -> Any:
    """The first true value of the condition."""
    end = time.monotonic() + seconds
    while not (found := condition()):
        assert time.monotonic() < end, f"not within {seconds} s: {what}"
        time.sleep(0.1)
    return found


class Deployed:
    """The tiny pipeline on the session's server, with a pool and a worker of its own."""

    def __init__(self, hpt: Any) -> None:
        self.hpt = hpt
        self.name = f"tiny-{hpt.folder.name}"[-60:]
        hpt.environment |= {"PREFECT_WORKER_QUERY_SECONDS": "1", "PREFECT_WORKER_PREFETCH_SECONDS": "1"}
        self.processes: list[subprocess.Popen[bytes]] = []

    def deploy(self, begin_within_s: float = LONG) -> None:
        text = self.hpt.config.read_text().replace('name = "tiny"', f'name = "{self.name}"', 1)
        self.hpt.config.write_text(f'store = "{self.hpt.store}"\n{text}\n[schedule]\npool = "{self.name}"\n')
        done = self.hpt.python(DEPLOY, str(begin_within_s))
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

    def start(self, suffix: str = "") -> str:
        found = self.get(f"deployments/name/pipeline/{self.name}{suffix}")
        return str(self.hpt.api(f"deployments/{found['id']}/create_flow_run", {"state": {"type": "SCHEDULED"}})["id"])

    def state(self, run: str) -> str:
        return str(self.get(f"flow_runs/{run}")["state"]["name"])

    def history(self, run: str) -> list[str]:
        found = self.get(f"flow_run_states/?flow_run_id={run}")
        return [state["name"] for state in sorted(found, key=lambda state: state["timestamp"])]

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

    def checkpoint(self, after: int = 0) -> int:
        """The newest checkpoint's step, once it is later than `after`."""

        def newest() -> int:
            steps = [int(p.name[5:]) for p in self.hpt.store.glob("train/*/work/checkpoints/step-*")]
            return max((step for step in steps if step > after), default=0)

        return int(until(f"a checkpoint after step {after}", newest, 100))

    def end(self) -> None:
        for process in self.processes:
            with contextlib.suppress(ProcessLookupError):
                process.terminate()
        for process in self.processes:
            process.wait(20)
        until("no process is left", lambda: not self.find(""), 40)


@pytest.fixture
def deployed(fresh: Any) -> Iterator[Deployed]:
    fresh.train_too()
    found = Deployed(fresh)
    try:
        yield found
    finally:
        found.end()


FLOW = "flows.engine flow"
"""Words of the flow's own process and of its supervisor."""


def flow_of(deployed: Deployed) -> psutil.Process:
    """The flow's own process."""
    return next(p for p in deployed.find(FLOW) if "supervisor.py" not in " ".join(p.cmdline()))


def test_a_run_goes_on_whatever_process_it_loses(deployed: Deployed) -> None:
    deployed.deploy()
    worker = deployed.worker()
    run = deployed.start("-train")
    step, crashes = 0, 0

    def lost() -> None:
        """The run is Crashed and goes on by itself."""
        nonlocal crashes, step
        crashes += 1
        until("the run is Crashed", lambda: deployed.history(run).count("Crashed") == crashes, 30)
        begun = time.monotonic()
        until("the run goes on", lambda: deployed.history(run).count("Running") == crashes + 1, 60)
        print(f"Running again after {time.monotonic() - begun:.1f} s")

    for what in ("stage", "flow asked", "flow", "worker asked", "worker"):
        step = deployed.checkpoint(step)
        print(what, step, time.strftime("%X"))
        if what == "stage":
            (victim,) = [p for p in deployed.find("hpt_core.train ") if "supervisor.py" not in " ".join(p.cmdline())]
            victim.kill()
            continue
        if what == "flow asked":
            flow_of(deployed).terminate()
        elif what == "flow":
            flow_of(deployed).kill()
        else:
            os.kill(worker.pid, signal.SIGTERM if what == "worker asked" else signal.SIGKILL)
            worker.wait(20)
            until("the flow has ended", lambda: not deployed.find(""), 30)
            worker = deployed.worker()
        lost()
    until("the run is complete", lambda: deployed.state(run) == "Completed", 120)
    print(deployed.history(run), deployed.log(run))
