"""The batch scripts as a cluster runs them: real `hpt`, real torchrun, and stand-ins only for Slurm."""

import json
import signal
import subprocess
import sys
import time
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from typing import Any

import psutil
import pytest

from flows.prefect_server import DATABASE
from tests.conftest import copy_base
from tests.flows.pipelines import Hpt
from tests.ports import free_port
from tests.shared import copy_database

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"

CONFIG = """
name = "tiny"
[model.base.source]
name = "scratch"
layers = 1
hidden_size = 32
intermediate_size = 32
heads = 1
max_positions = 512
[data.d]
source = { name = "procedural", rows = 64, seed = 1 }
model = "model.base"
[train.sft]
from = "model.base"
data = "data.d"
algorithm = "sft"
steps = STEPS
questions_per_step = 4
checkpoint_every = 1
sampling = { max_tokens = 40 }
"""

SRUN = """#!{python}
# As srun: the command once on each node. Here the nodes are one machine.
import subprocess, sys
arguments = sys.argv[1:]
options = dict(arguments.pop(0).lstrip("-").split("=") for _ in range(sum(a.startswith("--") for a in arguments[:4])))
running = [subprocess.Popen(arguments) for _ in range(int(options["nodes"]))]
sys.exit(max(abs(process.wait()) for process in running))
"""
SCONTROL = """#!{python}
import pathlib, sys
with pathlib.Path({calls!r}).open("a") as calls:
    calls.write(" ".join(sys.argv[1:]) + "\\n")
if sys.argv[1] == "show":
    print("localhost\\nlocalhost")
"""
HPT = """#!/bin/sh
exec {python} -m flows.cli "$@"
"""


def render(template: str, **values: object) -> str:
    spec = spec_from_file_location("render", EXAMPLES / "render.py")
    assert spec is not None and spec.loader is not None
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    text: str = module.render(EXAMPLES / "slurm" / template, [f"{name}={value}" for name, value in values.items()])
    return text


class Cluster:
    """A folder from which jobs of two nodes are submitted."""

    def __init__(self, folder: Path, prefect_environment: dict[str, str]) -> None:
        self.folder = folder
        self.calls = folder / "calls"
        programs = folder / ".venv" / "bin"
        programs.mkdir(parents=True)
        for name, text in (("srun", SRUN), ("scontrol", SCONTROL), ("hpt", HPT)):
            (programs / name).write_text(text.format(python=sys.executable, calls=str(self.calls)))
            (programs / name).chmod(0o755)
        path = f"{programs}:{Path(sys.executable).parent}:$PATH"
        (programs / "activate").write_text(f'export PATH="{path}"\n')
        self.environment = prefect_environment | {
            "SLURM_SUBMIT_DIR": str(folder),
            "SLURM_JOB_ID": "71",
            "SLURM_JOB_NODELIST": "localhost,localhost",
            "SLURM_NNODES": "2",
            "SLURM_CPUS_PER_TASK": "1",
            "HPT_CACHE": str(folder / "cache"),
            # The rendezvous is at localhost, which torchrun must know for this machine.
            "GLOO_SOCKET_IFNAME": "lo",
        }

    def submit(self, text: str, steps: int) -> "subprocess.Popen[str]":
        (self.folder / "tiny.toml").write_text(CONFIG.replace("STEPS", str(steps)))
        (self.folder / "job.sbatch").write_text(text)
        return subprocess.Popen(
            ["bash", "job.sbatch"],
            cwd=self.folder,
            env=self.environment,
            text=True,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        )

    def slot(self) -> Path:
        (found,) = (self.folder / "runs" / "train").iterdir()
        return found


@pytest.fixture
def cluster(finished: Hpt, prefect_environment: dict[str, str], tmp_path: Path) -> Cluster:
    copy_base(finished, tmp_path / "runs")
    return Cluster(tmp_path, prefect_environment)


def test_two_nodes_train_one_model(cluster: Cluster) -> None:
    text = render("multinode.sbatch.j2", config="tiny.toml", gpus=1, port=free_port())
    job = cluster.submit(text, steps=3)
    out, _ = job.communicate(timeout=400)
    assert job.returncode == 0, out
    slot = cluster.slot()
    assert (slot / "manifest.json").exists()
    assert json.loads((slot / "output" / "summary.json").read_text())["steps"] == 3
    log = (slot / "log.txt").read_text()
    assert "srun --nodes=2" in log.splitlines()[0]
    for rank in ("(rank 0)", "(rank 1)"):
        assert rank in log
    assert cluster.calls.read_text() == "show hostnames localhost,localhost\n"


def test_a_job_stops_cleanly_before_its_time_limit_and_requeues(cluster: Cluster) -> None:
    # Without an address, hpt starts a Prefect server of its own, which must stop too.
    del cluster.environment["PREFECT_API_URL"]
    cluster.environment["PREFECT_HOME"] = str(cluster.folder / "prefect")
    copy_database(cluster.folder / "prefect" / DATABASE)
    job = cluster.submit(render("pipeline.sbatch.j2", config="tiny.toml"), steps=100_000)
    checkpoints: list[Any] = []
    end = time.monotonic() + 300
    while not checkpoints:
        assert time.monotonic() < end and job.poll() is None, job.communicate()
        checkpoints = list((cluster.folder / "runs" / "train").glob("*/work/checkpoints/step-*"))
        time.sleep(0.1)
    processes = psutil.Process(job.pid).children(recursive=True)
    assert len(processes) >= 4, "hpt, its Prefect server, the supervisor and the worker"
    job.send_signal(signal.SIGUSR1)
    out, _ = job.communicate(timeout=120)
    assert job.returncode == 0, out
    assert cluster.calls.read_text() == "requeue 71\n"
    _, left = psutil.wait_procs(processes, timeout=30)
    assert not [p for p in left if p.is_running() and p.status() != psutil.STATUS_ZOMBIE]
    assert not (cluster.slot() / "manifest.json").exists()
    assert list((cluster.slot() / "work" / "checkpoints").glob("step-*"))
