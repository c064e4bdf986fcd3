"""Small worker programs for the tests."""

import textwrap
from collections.abc import Callable
from pathlib import Path

import pytest


@pytest.fixture
def program(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str, str], str]:
    """Writes a module that workers can be run from; returns its name."""
    folder = tmp_path / "programs"
    folder.mkdir()
    monkeypatch.setenv("PYTHONPATH", str(folder), prepend=":")

    def write(name: str, body: str) -> str:
        (folder / f"{name}.py").write_text(textwrap.dedent(body))
        return name

    return write
