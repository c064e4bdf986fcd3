"""A real Prefect server for the session, the `hpt` command as a process, and a pipeline that takes seconds."""

import contextlib
import io
import json
import logging
import os
import shutil
import subprocess
import sys
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from flows.cli import main

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
        self.write(TINY)

    def train_too(self) -> None:
        """Give the pipeline training data and a training stage of many short steps."""
        models = 'models = ["model.base", "train.sft"]'
        self.write(TINY.replace('models = ["model.base"]', models) + TRAINED)

    def write(self, text: str) -> None:
        self.config.write_text(text.replace("PUBLISHED", str(self.published)))

    def start(self, *arguments: str) -> "subprocess.Popen[str]":
        command = [sys.executable, "-m", "flows.cli", *arguments]
        return subprocess.Popen(
            command, cwd=self.folder, env=self.environment, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE
        )

    def __call__(self, *arguments: str, code: int = 0) -> "subprocess.CompletedProcess[str]":
        process = self.start(*arguments)
        out, err = process.communicate(timeout=300)
        assert process.returncode == code, f"hpt {' '.join(arguments)} gave {process.returncode}\n{out}\n{err}"
        return subprocess.CompletedProcess(arguments, process.returncode, out, err)

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
        found = self.api("flow_runs/filter", {"sort": "START_TIME_ASC", "limit": 200})
        return [run for run in found if run["parameters"].get("config", {}).get("store") == str(self.store)]

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


@pytest.fixture(scope="session")
def finished(prefect_environment: dict[str, str], tmp_path_factory: pytest.TempPathFactory) -> Hpt:
    """A pipeline that was run to its end, with what the run wrote in `run.out` and `run.err`. Not to be changed."""
    hpt = Hpt(tmp_path_factory.mktemp("finished"), prefect_environment)
    done = hpt("run", "tiny.toml")
    (hpt.folder / "run.out").write_text(done.stdout)
    (hpt.folder / "run.err").write_text(done.stderr)
    return hpt


@pytest.fixture
def again(finished: Hpt, prefect_environment: dict[str, str], tmp_path: Path) -> Hpt:
    """A copy of the finished pipeline's store, published nowhere yet, to change."""
    hpt = Hpt(tmp_path, prefect_environment)
    shutil.copytree(finished.store, hpt.store, symlinks=True)
    return hpt


@pytest.fixture
def fresh(prefect_environment: dict[str, str], tmp_path: Path) -> Hpt:
    """A pipeline of which nothing is made."""
    return Hpt(tmp_path, prefect_environment)


@pytest.fixture
def machine(prefect_environment: dict[str, str], tmp_path: Path) -> Callable[[str, dict[str, str]], Hpt]:
    """Makes a pipeline in a folder of this name, with a cache of its own and more variables of the environment."""

    def make(name: str, environment: dict[str, str]) -> Hpt:
        (tmp_path / name).mkdir()
        return Hpt(tmp_path / name, prefect_environment | environment)

    return make


@pytest.fixture
def outputs() -> Callable[[Path, str], list[Path]]:
    """Folders of the outputs of a kind that exist in a store."""

    def find(store: Path, kind: str) -> list[Path]:
        return sorted(file.parent for file in (store / kind).glob("*/manifest.json"))

    return find
