"""Requests per second that a Prefect server answers, with its database in SQLite and in PostgreSQL.

Each client does what a run asks of the API: it creates a flow run, sets its states and sends log lines, one request
after the other. Server, database and clients share this machine's cores, so a server with a machine of its own answers
more.
"""

import contextlib
import os
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any

import typer

from bench import machine, options, records
from bench.records import Record
from bench.scale import postgres
from hpt_core.loopback import HOST, answers

OUT = records.latest("prefect")
STATES = ("PENDING", "RUNNING", "COMPLETED")
LOGS = 20
"""Log lines of one request."""
START_WITHIN_S = 120.0


def main(
    clients: Annotated[
        list[int] | None, typer.Option(help="numbers of clients at once", show_default="1, 8, 32")
    ] = None,
    seconds: Annotated[float, typer.Option(help="seconds of each measurement")] = 20.0,
    out: options.Out = OUT,
) -> None:
    """Measure the rate of Prefect's API on SQLite and on PostgreSQL, if it is installed (about 4 minutes)."""
    found: list[dict[str, Any]] = []
    for database in ("sqlite", "postgresql"):
        if database == "postgresql" and postgres.programs() is None:
            print("PostgreSQL is not installed: only SQLite is measured")
            continue
        with tempfile.TemporaryDirectory() as folder, _server(database, Path(folder)) as (url, log):
            for count in clients or [1, 8, 32]:
                measured = load(url, count, seconds)
                locked = log.read_text(errors="replace").count("database is locked")
                found.append({"database": database, "clients": count, "locked": locked, **measured})
                print(found[-1])
    facts = {"seconds": seconds, "logs": LOGS}
    records.finish(out, Record("prefect", machine.describe(), facts, summarize(found), found), table)


@contextlib.contextmanager
def _server(database: str, folder: Path) -> Iterator[tuple[str, Path]]:
    """Address and log of a new Prefect server."""
    with contextlib.ExitStack() as stack:
        address = f"sqlite+aiosqlite:///{folder}/prefect.db"
        if database == "postgresql":
            address = stack.enter_context(postgres.server(_free_port()))
        port, log = _free_port(), folder / "server.log"
        environment = {k: v for k, v in os.environ.items() if not k.startswith("PREFECT_")} | {
            "PREFECT_HOME": str(folder),
            "PREFECT_SERVER_DATABASE_CONNECTION_URL": address,
            "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
            "DO_NOT_TRACK": "1",
        }
        program = [sys.executable, "-m", "flows.collected", "prefect", "server", "start"]  # as `hpt up` starts it
        command = [*program, "--host", HOST, "--port", str(port)]
        output = stack.enter_context(log.open("w"))
        server = subprocess.Popen(command, env=environment, stdout=output, stderr=output)
        try:
            until = time.monotonic() + START_WITHIN_S
            while not answers(port, "/api/health"):
                if server.poll() is not None or time.monotonic() > until:
                    raise SystemExit(f"the server does not start: {log.read_text()[-2000:]}")
                time.sleep(0.2)
            yield f"http://{HOST}:{port}/api", log
        finally:
            server.terminate()
            server.wait(60)


def _free_port() -> int:
    with socket.create_server((HOST, 0)) as probe:
        return int(probe.getsockname()[1])


def load(url: str, clients: int, seconds: float) -> dict[str, Any]:
    """Let clients ask for so many seconds. Returns the rate, times, failed requests, and the seconds that it took."""
    import httpx

    with httpx.Client(timeout=60) as client:
        flow = client.post(f"{url}/flows/", json={"name": "load"}).json()["id"]
    times: list[float] = []
    failed: list[str] = []
    until = time.perf_counter() + seconds
    threads = [threading.Thread(target=_runs, args=(url, flow, until, times, failed)) for _ in range(clients)]
    begun = time.perf_counter()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    took, ordered = time.perf_counter() - begun, sorted(times)
    return {
        "per_second": len(times) / took,
        "median_ms": 1000 * ordered[len(ordered) // 2],
        "p99_ms": 1000 * ordered[int(0.99 * len(ordered))],
        "failed": len(failed),
        "took_s": took,
    }


def _runs(url: str, flow: str, until: float, times: list[float], failed: list[str]) -> None:
    import httpx

    with httpx.Client(timeout=60) as client:

        def ask(path: str, body: Any) -> Any:
            begun = time.perf_counter()
            try:
                answer = client.post(f"{url}/{path}", json=body)
            except httpx.HTTPError as error:  # a server under load resets connections
                failed.append(repr(error))
                return {}
            if answer.is_error:
                failed.append(answer.text)
                return {}
            times.append(time.perf_counter() - begun)
            return answer.json() if answer.content else {}

        while time.perf_counter() < until:
            run = ask("flow_runs/", {"flow_id": flow, "state": {"type": "SCHEDULED"}}).get("id")
            if run is None:
                continue  # the server was busy; Prefect's client would ask again
            for state in STATES:
                ask(f"flow_runs/{run}/set_state", {"state": {"type": state}, "force": True})
                line = {"name": "load", "level": 20, "message": "x" * 100, "flow_run_id": run}
                ask("logs/", [line | {"timestamp": "2026-01-01T00:00:00Z"}] * LOGS)


def summarize(rows: list[dict[str, Any]]) -> dict[str, Any]:
    """Database -> the highest rate, with its number of clients and the failed requests of all."""
    summary = {}
    for database in dict.fromkeys(row["database"] for row in rows):
        of = [row for row in rows if row["database"] == database]
        best = max(of, key=lambda row: row["per_second"])
        counts = {"failed": sum(row["failed"] for row in of), "locked": max(row["locked"] for row in of)}
        summary[database] = {key: best[key] for key in ("per_second", "clients", "median_ms", "p99_ms")} | counts
    return summary


def table(record: Record) -> str:
    """One line per database and number of clients."""
    rows = [
        (
            row["database"],
            str(row["clients"]),
            f"{row['per_second']:.0f}",
            f"{row['median_ms']:.0f} ms",
            f"{row['p99_ms']:.0f} ms",
            str(row["failed"]),
            str(row["locked"]),
        )
        for row in record.rows
    ]
    columns = ("database", "clients", "requests per second", "median", "99 %", "failed", '"database is locked"')
    return records.markdown(columns, rows)
