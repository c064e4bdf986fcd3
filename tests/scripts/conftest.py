"""The setup script as a module, and uv."""

import importlib.util
import shutil
import sys
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="session")
def setup_env() -> ModuleType:
    """scripts/setup_env.py, with the environment of the tests in place of .venv."""
    spec = importlib.util.spec_from_file_location("setup_env", ROOT / "scripts" / "setup_env.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    module.PYTHON = Path(sys.executable)
    return module


@pytest.fixture(scope="session")
def uv() -> str:
    """uv of the environment that runs the tests, else the machine's."""
    found = Path(sys.executable).parent / "uv"
    return str(found if found.exists() else shutil.which("uv"))
