"""Slices on a real Ray cluster of two nodes on this machine, with token authentication; one node is killed."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from hpt_core.errors import ConfigError
from hpt_core.evaluation import cluster
from hpt_core.evaluation.cluster import ClusterSpec
from hpt_core.evaluation.journal import read
from hpt_core.evaluation.sample import run
from hpt_core.evaluation.spec import SampleSpec
from hpt_core.files import write_text
from hpt_core.plugins import FOLDERS
from tests.hpt_core.evaluation.test_sample import K, shards, spec_of

PROMPT = '''
"""A prompt beside a config."""
from hpt_core.prompts.plain import PlainText

class Letters(PlainText):
    """A plain prompt of its own."""
    template: str = "Letters: {question}"
'''


def spec_with(folder: Path, model: Path, prompt: str | None = None, **changed: Any) -> SampleSpec:
    folder.mkdir(exist_ok=True)
    units = [
        u | {"sampling": {"max_tokens": 64}, "k": 4 * u["k"], "prompt": prompt or u["prompt"]}
        for u in spec_of(folder, model).model_dump()["units"]
    ]
    return spec_of(folder, model, units=units, engine="transformers", **changed)


class Ray:
    """Two nodes; each is a process group that can be killed."""

    def __init__(self, environment: dict[str, str], folder: Path) -> None:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
        self.address = f"127.0.0.1:{port}"
        self.environment = environment
        common = ("--num-cpus=1", "--node-ip-address=127.0.0.1", "--object-store-memory=100000000", "--block")
        head = ("--head", f"--port={port}", "--include-dashboard=false", f"--temp-dir={folder}")
        self.nodes = [self._start(*head, *common)]
        while not _listens(port):
            assert self.nodes[0].poll() is None
            time.sleep(0.1)
        self.nodes.append(self._start(f"--address={self.address}", *common))
        self._wait(2)

    def _start(self, *arguments: str) -> subprocess.Popen[bytes]:
        command = [str(Path(sys.executable).parent / "ray"), "start", *arguments]
        return subprocess.Popen(
            command,
            env=self.environment,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )

    def _wait(self, nodes: int) -> None:
        script = (
            "import logging, ray, sys, time\n"
            f"ray.init(address={self.address!r}, logging_level=logging.ERROR)\n"
            f"while sum(n['Alive'] for n in ray.nodes()) < {nodes}: time.sleep(0.2)\n"
        )
        for _ in range(30):
            found = subprocess.run(
                [sys.executable, "-c", script], env=self.environment, capture_output=True, timeout=60
            )
            if not found.returncode:
                return
            time.sleep(1)
        pytest.fail(f"the cluster did not start: {found.stderr.decode()[-2000:]}")

    def kill(self, node: int) -> None:
        os.killpg(self.nodes[node].pid, signal.SIGKILL)
        self.nodes[node].wait()

    def close(self) -> None:
        for number, node in enumerate(self.nodes):
            if node.poll() is None:
                self.kill(number)


def _listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


@pytest.fixture(scope="module")
def ray_cluster() -> Iterator[Ray]:
    pytest.importorskip("ray", reason="needs Ray: pip install 'hpt-pipelines[ray]'")
    environment = {
        **os.environ,
        "RAY_AUTH_MODE": "token",
        "RAY_AUTH_TOKEN": "0123456789abcdef" * 4,
        "RAY_USAGE_STATS_ENABLED": "0",
        "RAY_health_check_period_ms": "500",
        "RAY_health_check_failure_threshold": "3",
        "PYTHONPATH": str(Path(__file__).resolve().parents[3]),
    }
    # Ray's sockets lie below this folder, and their paths may not be long.
    folder = Path(f"/tmp/hpt-ray-{os.getpid()}")
    found = Ray(environment, folder)
    yield found
    found.close()


@pytest.mark.slow
def test_the_cluster_refuses_clients_without_the_token(ray_cluster, tiny_model, tmp_path):
    path = tmp_path / "spec.json"
    sample = spec_with(tmp_path / "sliced", tiny_model)
    write_text(path, ClusterSpec(sample=sample, address=ray_cluster.address).model_dump_json())
    environment = {k: v for k, v in ray_cluster.environment.items() if k != "RAY_AUTH_TOKEN"} | {"HOME": str(tmp_path)}
    command = [sys.executable, "-m", "hpt_core.evaluation.cluster", str(path)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120)
    assert done.returncode == 2, done.stderr[-2000:]
    error = json.loads(done.stdout.splitlines()[-1])
    assert "cannot connect to a Ray cluster" in error["cause"]
    assert "RAY_AUTH_MODE" in error["remedy"]


@pytest.mark.slow
@pytest.mark.timeout(300)
@pytest.mark.long
@pytest.mark.kills
def test_a_killed_node_changes_no_sample(ray_cluster, tiny_model, tmp_path, monkeypatch):
    """Nor does a plug-in in the config's folder, which the nodes must find too."""
    (tmp_path / "config").mkdir()
    (tmp_path / "config" / "letters_prompt.py").write_text(PROMPT)
    monkeypatch.setenv(FOLDERS, str(tmp_path / "config"))
    monkeypatch.syspath_prepend(tmp_path / "config")
    whole, spec = (spec_with(tmp_path / n, tiny_model, prompt="letters_prompt:Letters") for n in ("whole", "sliced"))
    path = tmp_path / "spec.json"
    write_text(path, ClusterSpec(sample=spec, address=ray_cluster.address).model_dump_json())
    command = [sys.executable, "-m", "hpt_core.evaluation.cluster", str(path)]
    environment = ray_cluster.environment | {FOLDERS: os.environ[FOLDERS]}
    with (tmp_path / "log.txt").open("w") as log:
        process = subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=log, text=True)
    with process:
        assert process.stdout is not None
        events = []
        for line in process.stdout:
            events.append(json.loads(line))
            sessions = {e.session for unit in spec.units for e in read(unit.work / "journal")}
            if len(sessions) == 2 and ray_cluster.nodes[1].poll() is None:
                # Both nodes are drawing.
                ray_cluster.kill(1)
    assert process.returncode == 0, (tmp_path / "log.txt").read_text()[-3000:]
    assert ray_cluster.nodes[1].poll() is not None, "both slices were through before the node could be killed"
    assert "was lost and restarts" in (tmp_path / "log.txt").read_text()
    assert events[-1]["done"] == events[-1]["total"]
    run(whole, lambda *_, **__: None)
    for name in K:
        for file in (tmp_path / "whole" / name / "samples").iterdir():
            assert (tmp_path / "sliced" / name / "samples" / file.name).read_bytes() == file.read_bytes()
    assert len(shards(tmp_path / "sliced")) == len(shards(tmp_path / "whole"))


def test_without_ray_the_remedy_names_the_package(tiny_model, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "ray", None)
    spec = ClusterSpec(sample=spec_with(tmp_path, tiny_model), address="auto")
    with pytest.raises(ConfigError, match="Ray is not installed") as error:
        cluster.run(spec)
    assert "hpt-pipelines[ray]" in error.value.remedy


def test_an_address_without_a_cluster_fails_at_once(tiny_model, tmp_path):
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{probe.getsockname()[1]}"
    spec = ClusterSpec(sample=spec_with(tmp_path, tiny_model), address=address)
    with pytest.raises(ConfigError, match="cannot connect to a Ray cluster") as error:
        cluster.run(spec)
    assert "resources.ray" in error.value.remedy
