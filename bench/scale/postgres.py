"""A PostgreSQL server of one's own on the loopback address, with a password, in a temporary folder."""

import contextlib
import os
import secrets
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

from hpt_core.loopback import HOST

USER = "hpt"
START_WITHIN_S = 60.0
LAST = 2000
"""Characters of a log that an error shows."""


def programs() -> Path | None:
    """Folder of PostgreSQL's programs; None if they are not installed."""
    if found := shutil.which("postgres"):
        return Path(found).parent
    return next(iter(sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True)), None)


@contextlib.contextmanager
def server(port: int) -> Iterator[str]:
    """The address of a new server with an empty database, for Prefect. Raises RuntimeError if it does not start."""
    folder = Path(tempfile.mkdtemp(prefix="hpt-postgres-"))
    password, data, log = secrets.token_urlsafe(24), folder / "data", folder / "log.txt"
    try:
        with tempfile.NamedTemporaryFile("w", dir=folder, delete=False) as file:
            file.write(password)
        if os.geteuid() == 0:
            # PostgreSQL refuses to run as root.
            for path in (folder, file.name):
                shutil.chown(path, "postgres", "postgres")
        _run(
            "initdb", "-D", data, "-U", USER, "-A", "scram-sha-256", f"--pwfile={file.name}", "--no-sync", "-E", "UTF8"
        )
        options = f"-p {port} -c listen_addresses={HOST} -c unix_socket_directories={folder} -c fsync=off"
        try:
            _run("pg_ctl", "start", "-D", data, "-o", options, "-l", log, "-w", "-t", int(START_WITHIN_S))
            yield f"postgresql+asyncpg://{USER}:{password}@{HOST}:{port}/postgres"
        finally:
            if (data / "postmaster.pid").exists():
                _run("pg_ctl", "stop", "-D", data, "-m", "immediate", "-w")
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _run(program: str, *arguments: object) -> None:
    found = programs()
    if found is None:
        raise RuntimeError("PostgreSQL is not installed; apt-get install postgresql")
    prefix = ["runuser", "-u", "postgres", "--"] if os.geteuid() == 0 else []
    with tempfile.TemporaryFile("w+") as output:  # not a pipe, which the server would keep open
        command = [*prefix, str(found / program), *map(str, arguments)]
        done = subprocess.run(command, cwd="/", stdout=output, stderr=output, check=False)
        if done.returncode:
            output.seek(0)
            raise RuntimeError(f"{program} failed: {output.read()[-LAST:]}")
