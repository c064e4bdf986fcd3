"""Disturb a small pipeline in every way that a night may bring: `python -m bench.failures`.

The pipeline makes a model and training data, trains, evaluates on two benchmarks, builds a report and publishes it. It
takes seconds, and training takes as long as a case needs. Each case runs it in a folder of its own, disturbs it, and
lets it go on: by itself, or by the same command. The processes, the Prefect server and the signals are real.

Demanded of every case: the results equal those of a run that nothing disturbed, only what was in flight was started
again, no process is left, and nothing is held for more than two minutes. Exit code 1 if a case does not meet this.
"""

import json
import shutil
import signal
import sys
import tempfile
import time
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import typer

from bench import machine, options, records
from bench.failures import by_hand, kills, served, storage
from bench.failures.bed import LIMIT_S, Bed, Calm, Row, measure_calm, prepare
from bench.records import Record, markdown
from tests.server import Server

OUT = records.latest("failures")
KILLS = "kills"
CASES: dict[str, Callable[[Bed], Iterator[Row]]] = {**by_hand.CASES, **storage.CASES, **served.CASES}

LEFT = {
    "stages": ("*",),
    "away": ("*",),
    KILLS: ("*",),
    "output": ("publish.*",),
    "publication": ("publish.*",),
}
"""Case -> what its pipeline still has to make, if that is not the training and all after it."""
AFTER = ("train.*", "evaluate.sft/*", "report", "publish.*")
ONLY = f"case, repeatable; the others stay as they are in the record: {', '.join([*CASES, KILLS])}"


def main(
    only: Annotated[list[str] | None, typer.Option(help=ONLY)] = None,
    count: Annotated[int, typer.Option("--kills", help="random kills in the case `kills`")] = 50,
    seed: Annotated[int, typer.Option(help="seed of the random kills")] = 1,
    calm: Annotated[Path | None, typer.Option(help="folder of the undisturbed run; made if it does not exist")] = None,
    out: options.Out = OUT,
) -> None:
    """Disturb a pipeline in every way, and compare it with one that nothing disturbs (45 minutes on two cores)."""
    chosen = only or [*CASES, KILLS]
    if unknown := set(chosen) - {*CASES, KILLS}:
        raise typer.BadParameter(f"there is no case {min(unknown)!r}; known: {', '.join([*CASES, KILLS])}")
    # Where the command was started in the background of a script, SIGINT is ignored, and so it would be in the Prefect
    # worker, which ends by SIGINT.
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    folder = Path(tempfile.mkdtemp(prefix="hpt-failures-"))
    (folder / "prefect").mkdir()
    server = Server(folder / "prefect")
    rows = [Row(**row) for row in records.read(out).rows] if only and out.exists() else []
    rows = [row for row in rows if row.name not in chosen]
    settings = {"kills": count, "seed": seed}
    try:
        server.start()
        prepare(folder / "prepared", server)
        undisturbed = measure_calm(calm or folder / "calm", server)
        facts = {"calm_seconds": undisturbed.seconds}
        for name in chosen:
            rows += _run(name, folder, server, undisturbed, count, seed)
            rows.sort(key=lambda row: [*CASES, KILLS].index(row.name))
            # After each case, so that a run that is stopped leaves what it has measured.
            records.write(out, _record(settings, rows, facts))
        facts["runs_left_running"] = _running(server)
    finally:
        server.end()
    record = _record(settings, rows, facts)
    records.finish(out, record, table)
    if record.summary["wrong"] or record.summary["runs_left_running"]:
        sys.stderr.write(f"the stores of the failed cases are in {folder}\n")
        raise typer.Exit(1)
    shutil.rmtree(folder)


def _record(settings: dict[str, Any], rows: list[Row], facts: dict[str, Any]) -> Record:
    return Record("failures", machine.describe(1), settings, summarize(rows) | facts, [asdict(row) for row in rows])


def _run(name: str, folder: Path, server: Server, calm: Calm, count: int, seed: int) -> list[Row]:
    """The rows of one case. An error in it is a row, too."""

    def bed(place: str) -> Bed:
        beds.append(Bed.with_training(folder / place, server, calm, LEFT.get(name, AFTER)))
        return beds[-1]

    beds: list[Bed] = []
    rows: list[Row] = []
    begun = time.monotonic()
    try:
        if name == KILLS:
            rows.append(kills.case(bed, count, seed))
        else:
            rows += CASES[name](bed(name))
    except Exception as error:  # whatever it is, the other cases follow
        rows.append(Row(name, state="unknown", wrong=[f"{type(error).__name__}: {error}"]))
    finally:
        for one in beds:
            _clean(one)
        if not server.is_running:
            server.start()
    for row in rows:
        row.name = name
        told = "; ".join(row.wrong) or "as demanded"
        print(f"{time.monotonic() - begun:6.0f} s  {row.case}: {told}", flush=True)
    if not any(row.wrong for row in rows):
        for one in beds:
            shutil.rmtree(one.folder)
    return rows


def _running(server: Server) -> int:
    """How many runs are Running or Pending on the server two minutes after the last of them lost its process."""
    body = {"flow_runs": {"state": {"type": {"any_": ["RUNNING", "PENDING", "CANCELLING"]}}}}
    request = urllib.request.Request(
        f"{server.environment['PREFECT_API_URL']}/flow_runs/count",
        json.dumps(body).encode(),
        {"Content-Type": "application/json"},
    )
    end = time.monotonic() + LIMIT_S
    while True:
        with urllib.request.urlopen(request, timeout=20) as answer:
            count = int(json.load(answer))
        if not count or time.monotonic() > end:
            return count
        time.sleep(1)


def _clean(bed: Bed) -> None:
    """End everything that a case has left, so that the next one starts alone."""
    for process in bed.runs.processes:
        process.kill()
        process.wait()
    for left in bed.runs.find(""):
        left.kill()


def summarize(rows: list[Row]) -> dict[str, Any]:
    """Counts over the cases, and the longest times in seconds."""
    ran = [row for row in rows if row.state]
    return {
        "cases": len(ran),
        "left_out": len(rows) - len(ran),
        "wrong": sum(bool(row.wrong) for row in ran),
        "equal": sum(bool(row.equal) for row in ran),
        "orphans": sum(row.orphans for row in ran),
        "longest_free_s": max((row.free_s for row in ran if row.free_s is not None), default=0.0),
        "longest_noticed_s": max((row.noticed_s for row in ran if row.noticed_s is not None), default=0.0),
    }


def table(record: Record) -> str:
    """The cases as a table."""
    columns = ("failure", "started again", "results", "processes left", "end", "noticed", "free", "went on")
    lines = [_line(Row(**row)) for row in record.rows]
    wrong = [f"- {row['case']}: {'; '.join(row['wrong'])}" for row in record.rows if row["wrong"]]
    shown = markdown(columns, lines, left=5)
    return "\n\n".join(filter(None, [shown, "\n".join(wrong)]))


def _line(row: Row) -> list[str]:
    if not row.state:
        return [row.case, row.note, *["-"] * 6]
    case = f"{row.case} ({row.note})" if row.name == KILLS else row.case
    again = ", ".join(f"{name} {count}x" if count > 1 else name for name, count in row.again.items())
    if len(row.again) > 4:
        again = f"{sum(row.again.values())} starts of {len(row.again)} artifacts"
    equal = {True: "equal", False: "differ", None: "unknown"}[row.equal]
    seconds = ["-" if s is None else f"{s:.1f} s" for s in (row.noticed_s, row.free_s, row.resumed_s)]
    return [case, again or "nothing", equal, str(row.orphans), row.state, *seconds]


if __name__ == "__main__":
    typer.run(main)
