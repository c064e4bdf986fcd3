"""Seconds that orchestration adds to a stage, and what it asks of the store and of Prefect's server.

A chain of stages that do nothing runs as a Prefect flow with a temporary server. What passes from the first stage to
the last is orchestration: the plan, leases, the record of the run, the manifest, Prefect's task. The chain runs once
in the flow's process, and once with a worker program per stage, whose own time is subtracted: from the start of its
process to the end of its work.

Exit code 1: orchestration takes 1 s or longer per stage.
"""

import os
import statistics
import tempfile
from typing import Annotated, Any

import typer

from bench import child, machine, options, records
from bench.records import Record

WANTED_S = 1.0
OUT = records.latest("stages")
REQUESTS = ("get", "put", "head", "list", "delete")


def main(
    stages: Annotated[int, typer.Option(help="stages of the chain")] = 50,
    rounds: Annotated[int, typer.Option(help="chains of each kind")] = 3,
    out: options.Out = OUT,
) -> None:
    """Measure the orchestration of a stage (about 5 minutes)."""
    found: list[dict[str, Any]] = []
    for number in range(rounds):
        for in_worker in (False, True):
            with tempfile.TemporaryDirectory() as folder:
                kept = {k: v for k, v in os.environ.items() if not k.startswith("PREFECT_")}
                homes = {"HPT_CACHE": f"{folder}/cache", "PREFECT_HOME": f"{folder}/prefect"}
                spec = {"folder": folder, "stages": stages, "in_worker": in_worker}
                measured = child.call("bench.scale._stages", spec, kept | homes)
                found.append({"in_worker": in_worker, "round": number, **measured})
                print({k: v for k, v in found[-1].items() if k != "gaps"})
    summary = summarize(found)
    records.finish(
        out, Record("stages", machine.describe(), {"stages": stages, "rounds": rounds}, summary, found), table
    )
    if max(summary["here"], summary["worker"]) >= WANTED_S:
        raise typer.Exit(1)


def summarize(rows: list[dict[str, Any]]) -> dict[str, Any]:
    """Medians over the rounds: seconds per stage, and requests per stage."""
    here, worker = ([r for r in rows if r["in_worker"] is way] for way in (False, True))
    return {
        "here": statistics.median(r["per_stage"] for r in here),
        "worker": statistics.median(r["per_stage"] - r["own"] for r in worker),
        "own": statistics.median(r["own"] for r in worker),
        "store": {name: statistics.median(r["store"][name] for r in worker) for name in REQUESTS},
        "prefect": statistics.median(r["prefect_requests"] for r in worker),
        "events": statistics.median(r["prefect_events"] for r in worker),
    }


def table(record: Record) -> str:
    """Seconds and requests of a stage."""
    found = record.summary
    store = ", ".join(f"{found['store'][name]:.1f} {name.upper()}" for name in REQUESTS)
    rows = [
        ("stage in the flow's process", f"under {WANTED_S:g} s", f"{found['here']:.2f} s"),
        (
            "stage with a worker program, without the program's own time",
            f"under {WANTED_S:g} s",
            f"{found['worker']:.2f} s",
        ),
        ("the worker program alone: Python and its imports", "", f"{found['own']:.2f} s"),
        ("requests of a stage to Prefect's API", "", f"{found['prefect']:.1f}, and {found['events']:.1f} events"),
        ("requests of a stage to the store, if each file operation were one", "", store),
    ]
    return records.markdown(("orchestration of a stage", "target", "measured"), rows, left=3)
