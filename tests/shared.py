"""What the processes of a parallel run share: made by the first that asks, ended by the process that starts them."""

import contextlib
import json
import os
import shutil
import signal
import sqlite3
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil

from hpt_core.artifacts.mirror import locked
from tests.server import Server

FOLDER = "HPT_TESTS_FOLDER"
"""Names the folder of a run. The processes of a parallel run inherit it."""


def begin() -> None:
    """Make the run's folder. Call it in the process that starts the others."""
    os.environ[FOLDER] = tempfile.mkdtemp(prefix="hpt-tests-")


def end() -> None:
    """End the server, and remove the folder."""
    folder = Path(os.environ.pop(FOLDER))
    with contextlib.suppress(FileNotFoundError, psutil.NoSuchProcess):
        server = psutil.Process(json.loads((folder / "server.json").read_text())["pid"])
        os.killpg(server.pid, signal.SIGTERM)
        _, left = psutil.wait_procs([server], timeout=20)
        for process in left:
            os.killpg(process.pid, signal.SIGKILL)
    shutil.rmtree(folder, ignore_errors=True)


def once(name: str, make: Callable[[Path], Any]) -> Any:
    """`make(folder)`, a JSON value, of the first process that asks for `name`. The folder is of that name alone."""
    folder = Path(os.environ[FOLDER], name)
    folder.mkdir(exist_ok=True)
    made = folder.with_suffix(".json")
    with locked(folder.with_suffix(".lock")):
        if not made.exists():
            made.write_text(json.dumps(make(folder)))
        return json.loads(made.read_text())


def _server() -> dict[str, Any]:
    def start(folder: Path) -> dict[str, Any]:
        server = Server(folder)
        try:
            server.start()
            with (
                contextlib.closing(sqlite3.connect(folder / "prefect.db")) as its,
                contextlib.closing(sqlite3.connect(folder / "new.db")) as copy,
            ):
                its.backup(copy)
        except BaseException:
            server.end()
            raise
        return {"pid": server.detach(), "database": str(folder / "new.db"), "environment": server.environment}

    found: dict[str, Any] = once("server", start)
    return found


def server_environment() -> dict[str, str]:
    """The environment of processes that talk to the run's Prefect server."""
    found: dict[str, str] = _server()["environment"]
    return found


def copy_database(file: Path) -> None:
    """Make `file` a new server's database. A server takes 4 s of CPU time to make one itself."""
    file.parent.mkdir(parents=True, exist_ok=True)
    shutil.copy(_server()["database"], file)
