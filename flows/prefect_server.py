"""The Prefect server of a run: the one at PREFECT_API_URL, or a temporary one that ends with this process.

Prefect can start a temporary server by itself. It then waits minutes for a server that has already failed, and the
server writes to the terminal. `python -m flows.prefect_server` starts ours.
"""

import atexit
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from hpt_core import supervisor
from hpt_core.errors import ServerError, last_error
from hpt_core.loopback import HOST, answers
from hpt_core.redact import redact

STARTUP_S = 180.0
"""Seconds that a temporary server has to answer."""
ENDING = ("--grace", "3", "--death-signal", str(int(signal.SIGTERM)))
"""Options of the supervisor. Prefect kills a temporary server 5 seconds after it asked it to end."""
DATABASE = "hpt-run.db"
"""Database of temporary servers, in PREFECT_HOME."""
CONNECT_S = 3.0
"""Seconds to connect to the server at PREFECT_API_URL."""
ANSWER_S = 10.0
"""Seconds that it has to answer."""


def require_server(log: Path) -> None:
    """Check the server at PREFECT_API_URL; without one, start a temporary server whose output goes to `log`.

    Raises ServerError. Call it after `usable_home`, because it imports Prefect.
    """
    from prefect.settings import PREFECT_API_URL, PREFECT_SERVER_ALLOW_EPHEMERAL_MODE

    if url := PREFECT_API_URL.value():
        if problem := why_unreachable(url):
            raise ServerError(
                f"cannot reach the Prefect server at {url}: {problem}",
                "start it (`prefect server start`), correct PREFECT_API_URL, or unset it to use a temporary server",
            )
        return
    if not PREFECT_SERVER_ALLOW_EPHEMERAL_MODE.value():
        raise ServerError(
            "there is no Prefect server: PREFECT_API_URL is not set, and Prefect's settings forbid a temporary one",
            "set PREFECT_API_URL, or PREFECT_SERVER_ALLOW_EPHEMERAL_MODE=true",
        )
    from prefect.server.api.server import SubprocessASGIServer

    server = SubprocessASGIServer()
    if not server.running:
        process, port = _start(log)
        # Prefect finds every temporary server of a process here, and ends this one after it has sent its last events.
        server.port, server.server_process, server.running = port, process, True
        atexit.register(server.stop)


def why_unreachable(url: str) -> str:
    """Why the Prefect server at `url` cannot be used; "" if it answers. Settings such as certificates are Prefect's."""
    import httpx
    from prefect.client.orchestration import SyncPrefectClient
    from prefect.settings import (
        PREFECT_API_AUTH_STRING,
        PREFECT_API_KEY,
        PREFECT_CLIENT_MAX_RETRIES,
        temporary_settings,
    )

    try:
        with (
            temporary_settings({PREFECT_CLIENT_MAX_RETRIES: 0}),
            SyncPrefectClient(
                url,
                auth_string=PREFECT_API_AUTH_STRING.value(),
                api_key=PREFECT_API_KEY.value(),
                httpx_settings={"timeout": httpx.Timeout(ANSWER_S, connect=CONNECT_S)},
            ) as client,
        ):
            client.raise_for_api_version_mismatch()
    except Exception as error:  # Prefect hides the cause in errors of several types
        cause = error.__cause__ or error
        return redact(" ".join(f"{type(cause).__name__}: {cause}".split()))[:300]
    return ""


def usable_home() -> str:
    """Make sure that Prefect has a folder to write to. Returns a warning if the usual one cannot be used, else "".

    Prefect reads PREFECT_HOME when it is imported. The temporary server's database is in that folder.
    """
    try:
        named = os.environ.get("PREFECT_HOME")
        home = Path(named).expanduser() if named else Path.home() / ".prefect"
        home.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=home):
            return ""
    except OSError as error:
        other = os.environ["PREFECT_HOME"] = tempfile.mkdtemp(prefix="hpt-prefect-")
        return f"Prefect keeps this run's history in {other}, because its own folder cannot be written: {error}"


def _start(log: Path) -> tuple["subprocess.Popen[bytes]", int]:
    """Start a temporary server, and return its process and port when it answers. Raises ServerError."""
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("ab") as output:
        begin = output.tell()
        process = subprocess.Popen(
            [*supervisor.command(*ENDING), sys.executable, "-m", __name__],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=output,
            env=os.environ | _own_database(),
            # In a new session, Ctrl-C in the terminal reaches only this process, which still has states to report.
            start_new_session=True,
        )
    assert process.stdout is not None
    with process.stdout:
        said = process.stdout.readline().strip()
    port = int(said) if said.isdigit() else 0
    give_up = time.monotonic() + STARTUP_S
    while not (port and answers(port, "/api/health")):
        late = time.monotonic() > give_up
        if late or not port or process.poll() is not None:
            process.terminate()
            process.wait()
            what = f"does not answer after {STARTUP_S:g} s" if late else "ended while it started"
            raise ServerError(f"the temporary Prefect server {what}: {_cause(log, begin)}", f"see {log}")
        time.sleep(0.05)
    return process, port


def _own_database() -> dict[str, str]:
    """Environment that gives the temporary server a database of its own, unless the user has chosen one.

    A permanent server with the same PREFECT_HOME has prefect.db, and two servers lock each other out of a SQLite file.
    """
    from prefect.settings import PREFECT_HOME, get_current_settings

    database, home = get_current_settings().server.database, PREFECT_HOME.value()
    usual = database.connection_url and database.connection_url.get_secret_value()
    if database.host or database.name or usual != f"sqlite+aiosqlite:///{home / 'prefect.db'}":
        return {}
    return {"PREFECT_SERVER_DATABASE_CONNECTION_URL": f"sqlite+aiosqlite:///{home / DATABASE}"}


def _cause(log: Path, begin: int) -> str:
    """The last error in what a server wrote to its log, else its last line."""
    lines = [line.strip() for line in log.read_bytes()[begin:].decode(errors="replace").splitlines() if line.strip()]
    return last_error(lines) or (lines or ["no output"])[-1][:300]


def main() -> None:
    """Serve Prefect's API on a free port, which is printed on standard output."""
    import uvicorn
    from prefect.server.api.server import create_app

    from flows.collected import collect_in_thread

    collect_in_thread()
    listener = socket.create_server((HOST, 0))
    print(listener.getsockname()[1], flush=True)  # noqa: T201  (the parent process reads it)
    os.dup2(2, 1)
    config = uvicorn.Config(create_app(ephemeral=True, final=True), log_level="error", lifespan="on")
    uvicorn.Server(config).run([listener])


if __name__ == "__main__":
    main()
