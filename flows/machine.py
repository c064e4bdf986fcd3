"""A Prefect server and workers on this machine: `hpt up` starts them, `hpt down` ends exactly these.

The server listens on the loopback address and asks for a password. Its settings, with the password, and the key that
encrypts its blocks are in two files that only their owner can read.
"""

import base64
import contextlib
import json
import os
import secrets
import shlex
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import psutil

from flows.server import QUIET
from hpt_core.errors import ServerError
from hpt_core.files import write_json
from hpt_core.loopback import HOST, answers
from hpt_core.redact import redact

START_WITHIN_S = 120.0
"""Seconds that the server has to answer."""
END_WITHIN_S = 40.0
"""Seconds that a process has to end. A flow ends its stages and tells the server within that time."""
SETTLE_S = 3.0
"""Seconds between the end of a worker that had runs and the end of the server."""
PORT = 4200
USER = "hpt"
SERVER = "server"
METRICS = "metrics"
METRICS_PORT = "HPT_METRICS_PORT"
DATABASE = "PREFECT_SERVER_DATABASE_CONNECTION_URL"
"""Prefect's variable for the address of the server's database."""
SQLITE = "sqlite"
"""Value of the variable that returns to the database in the home."""
Told = Iterator[tuple[str, str]]
"""What was done: ("started", "server ...")."""


def home() -> Path:
    """Folder of the server and the workers that `hpt up` starts: HPT_HOME, else ~/.hpt."""
    return Path(os.environ.get("HPT_HOME") or Path.home() / ".hpt").expanduser()


class Machine:
    """The processes of one home."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._processes = folder / "processes.json"

    def settings(self, port: int | None = None) -> dict[str, str]:
        """Environment of every process that talks to the server, written at the first call. Raises ServerError."""
        file = self.folder / "environment"
        if not file.is_file():
            self.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            wanted = {
                "PREFECT_HOME": str(self.folder / "prefect"),
                "PREFECT_API_URL": _url(port or PORT),
                "PREFECT_API_AUTH_STRING": f"{USER}:{secrets.token_urlsafe(24)}",
            }
            if chosen := os.environ.get(METRICS_PORT):
                wanted[METRICS_PORT] = chosen
            _private(file, "\n".join(f"{name}={shlex.quote(value)}" for name, value in wanted.items()))
        lines = shlex.split(file.read_text())
        found = {name: value for name, _, value in (line.partition("=") for line in lines)}
        if port is not None and found["PREFECT_API_URL"] != _url(port):
            raise ServerError(f"{file} has the server at {found['PREFECT_API_URL']}", "omit --port, or remove the file")
        return found

    def key(self) -> str:
        """The key that encrypts blocks in the server's database, written at the first call."""
        file = self.folder / "encryption-key"
        if not file.is_file():
            _private(file, base64.urlsafe_b64encode(secrets.token_bytes(32)).decode())
        return file.read_text().strip()

    def database(self) -> Told:
        """Store the address of the server's database if the environment has one. It may hold a password, so it is not
        in the file that users load. Raises ServerError if the running server uses another one."""
        wanted = os.environ.get(DATABASE, "")
        file, stored = self._database_file, self._database()
        if not wanted or wanted == (stored or SQLITE):
            return
        if self._running(SERVER):
            raise ServerError("the running server uses another database", "run `hpt down` first")
        if wanted == SQLITE:
            file.unlink()
        else:
            self.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            _private(file, wanted)
        yield ("updated" if stored else "created"), f"database {redact(wanted)}"

    @property
    def _database_file(self) -> Path:
        return self.folder / "database"

    def _database(self) -> str | None:
        file = self._database_file
        return file.read_text().strip() if file.is_file() else None

    def start(self, port: int | None = None) -> Told:
        """Start the server unless it is running. Raises ServerError."""
        yield from self.database()
        settings = self.settings(port)
        url, port = settings["PREFECT_API_URL"], _port(settings)
        if self._running(SERVER):
            yield "unchanged", f"server {url}"
            return
        if answers(port, "/api/health"):
            raise ServerError(f"another server answers at {url}", "stop it, or give another --port and HPT_HOME")
        server = {
            "PREFECT_SERVER_API_AUTH_STRING": settings["PREFECT_API_AUTH_STRING"],
            "PREFECT_SERVER_ENCRYPTION_KEY": self.key(),
            # A run whose process is gone cannot answer a cancellation.
            "PREFECT_SERVER_SERVICES_CANCELLATION_CLEANUP_CANCELLING_TIMEOUT_SECONDS": "30",
        }
        if database := self._database():
            server[DATABASE] = database
        command = ["flows.collected", "prefect", "server", "start", "--host", HOST, "--port", str(port)]
        process = self._start(SERVER, command, settings | server)
        give_up = time.monotonic() + START_WITHIN_S
        while not answers(port, "/api/health"):
            if process.poll() is not None or time.monotonic() > give_up:
                self._end(SERVER)
                raise ServerError("the Prefect server does not start", f"see {self.folder / 'server.log'}")
            time.sleep(0.2)
        yield "started", f"server {url}"

    def measure(self) -> Told:
        """Serve metrics for Prometheus, unless they are served. Raises ServerError."""
        settings = self.settings()
        port = int(settings.get(METRICS_PORT) or _port(settings) + 1)
        what = f"metrics http://{HOST}:{port}/metrics"
        if self._running(METRICS):
            yield "unchanged", what
            return
        with contextlib.suppress(OSError):
            socket.create_connection((HOST, port), timeout=1).close()
            raise self._no_metrics(port)
        process = self._start(METRICS, ["flows.metrics", str(port)], settings)
        give_up = time.monotonic() + START_WITHIN_S
        while not answers(port, "/favicon.ico"):  # the one path that computes nothing
            if process.poll() is not None or time.monotonic() > give_up:
                self._end(METRICS)
                raise self._no_metrics(port)
            time.sleep(0.2)
        yield "started", what

    def _no_metrics(self, port: int) -> ServerError:
        log, file = self.folder / f"{METRICS}.log", self.folder / "environment"
        return ServerError(
            f"the metrics cannot be served at port {port}", f"see {log}; {METRICS_PORT} in {file} gives another port"
        )

    def work(self, pools: Iterable[str]) -> Told:
        """Start a worker for each pool that has none here."""
        for pool in dict.fromkeys(pools):
            name = f"worker of {pool}"
            if self._running(name):
                yield "unchanged", name
                continue
            self._start(name, ["prefect", "worker", "start", "--pool", pool], self.settings())
            yield "started", name

    def stop(self) -> Told:
        """End what `hpt up` has started: the workers with their runs first, then the server. Checkpoints are kept."""
        for name in sorted(self._recorded(), key=SERVER.__eq__):
            had_runs = name != SERVER and (worker := self._running(name)) is not None and bool(worker.children())
            yield ("stopped" if self._end(name) else "missing"), name
            if had_runs:
                # The server schedules the runs' next attempt.
                time.sleep(SETTLE_S)

    def is_whole(self) -> bool:
        """Whether every process that runs need is running. They do not need the metrics."""
        return all(self._running(name) for name in self._recorded() if name != METRICS)

    def _start(self, name: str, command: list[str], environment: dict[str, str]) -> "subprocess.Popen[bytes]":
        with (self.folder / f"{name.replace(' ', '-')}.log").open("ab") as log:
            process = subprocess.Popen(
                [sys.executable, "-m", *command],
                # Only the server may know the database and its password.
                env={k: v for k, v in os.environ.items() if k != DATABASE} | QUIET | environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        began = psutil.Process(process.pid).create_time()
        write_json(self._processes, self._recorded() | {name: [process.pid, began]})
        return process

    def _recorded(self) -> dict[str, Any]:
        """Name -> process number and start time, which together identify a process."""
        with contextlib.suppress(OSError, ValueError):
            return dict(json.loads(self._processes.read_text()))
        return {}

    def _running(self, name: str) -> psutil.Process | None:
        number, began = self._recorded().get(name, (0, 0))
        with contextlib.suppress(psutil.Error):
            process = psutil.Process(number)
            if process.create_time() == began and process.status() != psutil.STATUS_ZOMBIE:
                return process
        return None

    def _end(self, name: str) -> bool:
        """End a process with all that it has started. Returns whether it was running."""
        process = self._running(name)
        if process is not None:
            family = [process, *process.children(recursive=True)]
            process.send_signal(signal.SIGTERM)
            _, left = psutil.wait_procs(family, END_WITHIN_S)
            for stubborn in left:
                with contextlib.suppress(psutil.NoSuchProcess):
                    stubborn.kill()
            psutil.wait_procs(left, END_WITHIN_S)
        write_json(self._processes, {k: v for k, v in self._recorded().items() if k != name})
        return process is not None


def _url(port: int) -> str:
    return f"http://{HOST}:{port}/api"


def _port(settings: Mapping[str, str]) -> int:
    return int(settings["PREFECT_API_URL"].rpartition(":")[2].partition("/")[0])


def _private(file: Path, text: str) -> None:
    """Write a file that only its owner can read."""
    beside = file.with_name(f".{file.name}.{os.getpid()}")
    with os.fdopen(os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as handle:
        handle.write(text + "\n")
    beside.replace(file)
