"""Fixtures shared by the whole suite."""

import os
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent


def shared_data_folder() -> Path | None:
    """Local copies of the benchmarks and the demonstrations, or None where there are none."""
    folder = Path(os.environ.get("HPT_DATA") or ROOT.parent / "shared" / "data")
    return folder if (folder / "benchmarks").is_dir() else None


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """Folder with benchmarks/*.json and train/gsm8k_demos.parquet; skips where it is missing."""
    folder = shared_data_folder()
    if folder is None:
        pytest.skip("needs local benchmark data: set HPT_DATA to a folder with benchmarks/ and train/")
    return folder
