"""The `hpt` command in this process."""

from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import pytest

from flows.cli import main


class Result(NamedTuple):
    """What a command left behind."""

    code: int
    out: str
    err: str


@pytest.fixture
def run_here(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Callable[..., Result]:
    """The command, run in an empty folder, for a wide terminal."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HPT_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("HPT_DATA", raising=False)
    monkeypatch.setenv("COLUMNS", "400")

    def run(*arguments: str) -> Result:
        with pytest.raises(SystemExit) as caught:
            main(list(arguments))
        captured = capsys.readouterr()
        return Result(int(caught.value.code or 0), captured.out, captured.err)

    return run
