"""Seconds to sample a model in many slices: with processes of this machine, and on a Ray cluster.

Each slice has one question, and the responses are scripted, so nearly all of the time is what slices cost: their
specs, processes, journals, and the shards at the end. The cluster has one node with this machine's cores; it is there
before the measurement, as a real one is.

Exit code 1: 200 slices take 10 s or longer on either.
"""

import os
import statistics
import tempfile
from pathlib import Path
from typing import Annotated, Any

import typer

from bench import child, machine, options, records
from bench.records import Record

WANTED_S = 10.0
OUT = records.latest("slices")
WAYS = ("processes", "ray")


def main(
    slices: Annotated[int, typer.Option(help="slices, with one question each")] = 200,
    rounds: Annotated[int, typer.Option(help="rounds")] = 3,
    out: options.Out = OUT,
) -> None:
    """Measure the sampling of 200 slices (about 3 minutes)."""
    found: list[dict[str, Any]] = []
    for way in WAYS:
        with tempfile.TemporaryDirectory(prefix="hpt-") as folder:
            environment = {**os.environ, "HPT_CACHE": f"{folder}/cache", "OMP_NUM_THREADS": "1"}
            spec = {"folder": str(Path(folder).resolve()), "slices": slices, "way": way, "rounds": rounds}
            rows = child.call("bench.scale._slices", spec, environment)
            found += [{"way": way, "round": number, **row} for number, row in enumerate(rows)]
            print(found[-rounds:])
    summary = summarize(found)
    facts = {"slices": slices, "rounds": rounds}
    records.finish(out, Record("slices", machine.describe(), facts, summary, found), table)
    if max(summary[way]["seconds"] for way in WAYS) >= WANTED_S:
        raise typer.Exit(1)


def summarize(rows: list[dict[str, Any]]) -> dict[str, Any]:
    """Way -> medians over the rounds."""
    return {
        way: {key: statistics.median(r[key] for r in rows if r["way"] == way) for key in ("seconds", "one")}
        for way in WAYS
    }


def table(record: Record) -> str:
    """One line per way."""
    count = record.settings["slices"]
    names = {"processes": "processes on this machine", "ray": "tasks on a Ray cluster"}
    rows = [
        (
            names[way],
            f"under {WANTED_S:g} s",
            f"{found['seconds']:.1f} s",
            f"{found['one']:.1f} s",
            f"{1000 * (found['seconds'] - found['one']) / (count - 1):.0f} ms",
        )
        for way, found in record.summary.items()
    ]
    return records.markdown(("slices", "target", f"{count} slices", "1 slice", "each further slice"), rows)
