"""Pipelines that take seconds, run by the `hpt` command or by a deployment on a real Prefect server."""

import contextlib
import io
import json
import logging
import os
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from itertools import pairwise
from pathlib import Path
from typing import Any

import psutil
import pytest

from flows.cli import main
from flows.graph import Planned
from flows.load import load_config
from flows.run import plan_run
from hpt_core.artifacts import Manifest
from hpt_core.files import sha256_json
from tests.warm import run_hpt

ROOT = Path(__file__).resolve().parents[2]

TINY = r"""
name = "tiny"
seed = 3

[model.base.source]
name = "scratch"
layers = 1
hidden_size = 32
intermediate_size = 32
heads = 1
max_positions = 512

[model.unused.source]
name = "folder"
path = "nowhere"

[evaluate]
models = ["model.base"]
suites = ["procedural_double", "procedural_mixed"]
engine = { name = "scripted", otherwise = "The answer is \\boxed{3}." }
dtype = "float32"
limit = 4
k = 2
max_tokens = 40

[[publish]]
name = "static_site"
path = "PUBLISHED"
"""

TRAINED = """
[data.d]
source = { name = "procedural", rows = 64, seed = 1 }
model = "model.base"

[train.sft]
from = "model.base"
data = "data.d"
algorithm = "sft"
steps = 150
questions_per_step = 4
checkpoint_every = 5
sampling = { max_tokens = 40 }
"""


class Hpt:
    """The `hpt` command in one folder, with an environment of its own."""

    def __init__(self, folder: Path, environment: dict[str, str]) -> None:
        self.folder = folder
        self.store = folder / "runs"
        self.published = folder / "public" / "leaderboard"
        self.environment = environment | {"HPT_CACHE": str(folder / "cache")}
        self.config = folder / "tiny.toml"
        # What is remembered by its contents is shared by the tests of a session.
        for kind in ("prompts", "code"):
            known, link = Path(environment.get("PREFECT_HOME", folder)) / kind, folder / "cache" / kind
            for place in (known, link.parent):
                place.mkdir(parents=True, exist_ok=True)
            if not link.exists():
                link.symlink_to(known)
        self.write(TINY)

    def train_too(self) -> None:
        """Give the pipeline training data and a training stage of many short steps."""
        models = 'models = ["model.base", "train.sft"]'
        self.write(TINY.replace('models = ["model.base"]', models) + TRAINED)

    def write(self, text: str) -> None:
        text = text.replace("PUBLISHED", str(self.published))
        # Another process may be reading the config of a pipeline that is shared.
        if not self.config.exists() or self.config.read_text() != text:
            self.config.write_text(text)

    def start(self, *arguments: str) -> "subprocess.Popen[str]":
        command = [sys.executable, "-m", "flows.cli", *arguments]
        return subprocess.Popen(
            command, cwd=self.folder, env=self.environment, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE
        )

    def __call__(self, *arguments: str, code: int = 0) -> "subprocess.CompletedProcess[str]":
        if ended := run_hpt(arguments, self.environment, self.folder, 300):
            found, out, err = ended
        else:
            process = self.start(*arguments)
            out, err = process.communicate(timeout=300)
            found = process.returncode
        assert found == code, f"hpt {' '.join(arguments)} gave {found}\n{out}\n{err}"
        return subprocess.CompletedProcess(arguments, found, out, err)

    def look(self, *arguments: str, code: int = 0) -> "subprocess.CompletedProcess[str]":
        """The same in this process, for commands that only show something: a process takes a second to start."""
        out, err = io.StringIO(), io.StringIO()
        logger = logging.getLogger("hpt")
        before = list(logger.handlers), logger.level, logger.propagate
        with (
            pytest.MonkeyPatch.context() as patch,
            contextlib.redirect_stdout(out),
            contextlib.redirect_stderr(err),
            pytest.raises(SystemExit) as ended,
        ):
            patch.setattr(os, "environ", self.environment)
            patch.chdir(self.folder)
            main(list(arguments))
        logger.handlers, logger.level, logger.propagate = before
        found = int(ended.value.code or 0)
        assert found == code, f"hpt {' '.join(arguments)} gave {found}\n{out.getvalue()}\n{err.getvalue()}"
        return subprocess.CompletedProcess(arguments, found, out.getvalue(), err.getvalue())

    def python(self, script: str, *arguments: str, code: int = 0) -> "subprocess.CompletedProcess[str]":
        """A script of Python, in the same folder and environment."""
        done = subprocess.run(
            [sys.executable, "-c", script, *arguments],
            cwd=self.folder,
            env=self.environment,
            text=True,
            capture_output=True,
            timeout=300,
            check=False,
        )
        assert done.returncode == code, f"gave {done.returncode}\n{done.stdout}\n{done.stderr}"
        return done

    def api(self, path: str, body: dict[str, Any]) -> Any:
        """Answer of the Prefect server to a POST."""
        request = urllib.request.Request(
            f"{self.environment['PREFECT_API_URL']}/{path}",
            json.dumps(body).encode(),
            {"Content-Type": "application/json"},
        )
        with urllib.request.urlopen(request, timeout=20) as answer:
            return json.load(answer)

    def flow_runs(self) -> list[dict[str, Any]]:
        """Flow runs on this pipeline's store, oldest first."""
        found = self.api("flow_runs/filter", {"sort": "START_TIME_DESC", "limit": 200})
        configs = [run["parameters"].get("config") for run in found]
        own = [isinstance(config, dict) and config.get("store") == str(self.store) for config in configs]
        return [run for run, is_own in zip(found, own, strict=True) if is_own][::-1]

    def task_states(self, flow_run: str) -> list[dict[str, str]]:
        """State name by stage for each attempt of a flow run, oldest first."""
        body = {"flow_runs": {"id": {"any_": [flow_run]}}, "sort": "EXPECTED_START_TIME_ASC", "limit": 200}
        attempts: list[dict[str, str]] = []
        for task in self.api("task_runs/filter", body):
            index = task["flow_run_run_count"] - 1
            attempts += [{} for _ in range(index + 1 - len(attempts))]
            attempts[index][task["name"]] = task["state"]["name"]
        return attempts

    def prefect(self, *arguments: str) -> "subprocess.CompletedProcess[str]":
        command = [sys.executable, "-m", "prefect", "--no-prompt", *arguments]
        return subprocess.run(
            command, cwd=ROOT, env=self.environment, text=True, capture_output=True, timeout=300, check=True
        )


Fill = Callable[[Planned, Path], dict[str, Any]]
"""Writes the files of an artifact into its output folder, and returns fields of its manifest."""


def make_up(config: Path, fill: Fill) -> None:
    """Give the store every artifact of a config, without running anything."""
    while not (run := plan_run(load_config(config))).plan.finished:
        ready = [p for p in run.plan.planned if p.check.state != "done" and not p.target.provisional]
        assert ready, run.plan.problems
        for planned in ready:
            target, now = planned.target, datetime.now(UTC)
            slot = run.context.store.slot(target.kind, target.fingerprint)
            slot.output.mkdir(parents=True)
            outputs = {output.name: sha256_json([target.fingerprint, output.name]) for output in planned.step.produces}
            made = {
                "stage": str(target.key), "kind": target.kind, "fingerprint": target.fingerprint, "versions": {},
                "inputs": target.inputs, "config": target.config, "files": (), "outputs": outputs,
                "start": now, "end": now, **fill(planned, slot.output),
            }  # fmt: skip
            slot.commit(Manifest.model_validate(made))


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
"""The mean over tokens. While a file `slow` is beside this one, a step takes half a second more, or the seconds in the
file: a pace that does not depend on the machine."""

import time
from pathlib import Path

from hpt_core.upge.aggregation.token_mean import TokenMean


class Paced(TokenMean):
    def weights(self, rows):
        slow = Path(__file__).with_name("slow")
        if slow.exists():
            time.sleep(float(slow.read_text() or 0.5))
        return super().weights(rows)
'''


def train_paced(hpt: Any) -> None:
    """Give the pipeline a training whose pace the file `slow` decides: a fast one ends before it loses a process."""
    hpt.train_too()
    paced = 'algorithm = { name = "sft", sft = { aggregation = "paced:Paced" } }'
    hpt.config.write_text(hpt.config.read_text().replace('algorithm = "sft"', paced))
    (hpt.folder / "paced.py").write_text(PACED)


def until(what: str, condition: Callable[[], Any], seconds: float = 120) -> Any:
    """The first true value of the condition. A lost run must be noticed within two minutes. It mostly takes seconds."""
    end = time.monotonic() + seconds
    while True:
        with contextlib.suppress(urllib.error.URLError, TimeoutError):
            if found := condition():
                return found
        assert time.monotonic() < end, f"not within {seconds} s: {what}"
        time.sleep(0.2)


class Deployed:
    """The tiny pipeline on the session's server, with a pool and a worker of its own."""

    def __init__(self, hpt: Any, name: str = "") -> None:
        self.hpt = hpt
        self.name = name or f"tiny-{hpt.folder.name}"[-60:]
        hpt.environment |= {"PREFECT_WORKER_QUERY_SECONDS": "1", "PREFECT_WORKER_PREFETCH_SECONDS": "1"}
        self.processes: list[subprocess.Popen[bytes]] = []
        self._others = set[psutil.Process]()
        """Processes that are not this pipeline's. Not asked again, because that takes milliseconds each."""
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

    def wait_for(self, run: str, state: str, times: int, seconds: float = 120) -> None:
        """Wait until the run has been in a state so often."""
        until(f"{state}, {times} times", lambda: self.history(run).count(state) >= times, seconds)

    def log(self, run: str) -> str:
        body = {"logs": {"flow_run_id": {"any_": [run]}}, "sort": "TIMESTAMP_ASC", "limit": 200}
        return "\n".join(line["message"] for line in self.hpt.api("logs/filter", body))

    def find(self, words: str) -> list[psutil.Process]:
        """Processes of this pipeline with these words in their command."""
        found = []
        for process in psutil.process_iter():
            if process in self._others:
                continue
            with contextlib.suppress(psutil.Error):
                is_ours = process.environ().get("HPT_CACHE") == self.hpt.environment["HPT_CACHE"]
                if is_ours and words in " ".join(process.cmdline()) and process.status() != psutil.STATUS_ZOMBIE:
                    found.append(process)
                # Before its program is loaded, a process has the environment of the one that starts it.
                if not is_ours and time.time() - process.create_time() > 10:
                    self._others.add(process)
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
        logs = {name: folder / "log.txt" for name, folder in named(self.hpt.store, self.name).items()}
        return {name: f"\n{log.read_text()}".count("\n--- ") for name, log in logs.items() if log.is_file()}

    def checkpoint(self, after: int = 0) -> int:
        """The newest checkpoint's step, once it is later than `after`. On a busy machine, training begins late."""

        def newest() -> int:
            steps = [int(p.name[5:]) for p in self.hpt.store.glob("train/*/work/checkpoints/step-*")]
            return max((step for step in steps if step > after), default=0)

        return int(until(f"a checkpoint after step {after}", newest, 300))

    def end(self) -> None:
        for process in self.processes:
            with contextlib.suppress(ProcessLookupError):
                process.terminate()
        for process in self.processes:
            process.wait(120)
        until("no process is left", lambda: not self.find(""))


def own(processes: list[psutil.Process]) -> psutil.Process:
    """The process itself, without the supervisor above it."""
    return next(p for p in processes if "supervisor.py" not in " ".join(p.cmdline()))


def named(store: Path, name: str = "*") -> dict[str, Path]:
    """Name of each artifact of a pipeline, by default the store's only one -> its folder."""
    (pipeline,) = (store / "by-pipeline").glob(name)
    return {str(link.relative_to(pipeline)): link for link in pipeline.rglob("*") if link.is_symlink()}


def outputs_of(store: Path, name: str = "*") -> dict[str, Any]:
    """Hashes of the outputs of everything that a pipeline has made, without the log, which has times."""
    found = {key: json.loads((f / "manifest.json").read_text())["outputs"] for key, f in named(store, name).items()}
    return {key: {k: v for k, v in outputs.items() if k != "log"} for key, outputs in found.items()}
