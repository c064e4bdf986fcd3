"""Seconds to plan a pipeline whose stages are all finished.

The pipeline has one model, one benchmark, and in equal numbers trainings and evaluations. Their artifacts are made
here: manifests and files like those of real ones, but empty. Each plan is made in a new process, as `hpt plan` does.

Exit code 1: planning 1,000 finished stages takes 5 s or longer (median).
"""

import os
import statistics
import tempfile
from pathlib import Path
from typing import Annotated, Any

import typer

from bench import child, machine, options, records
from bench.records import Record

WANTED_S = 5.0
AT = 1000
OUT = records.latest("planning")


def main(
    sizes: Annotated[
        list[int] | None, typer.Option(help="numbers of finished stages", show_default="1000, 10000")
    ] = None,
    rounds: Annotated[int, typer.Option(help="plans of each size")] = 3,
    out: options.Out = OUT,
) -> None:
    """Measure planning with many finished stages (about 5 minutes)."""
    found: list[dict[str, Any]] = []
    for size in sizes or [AT, 10 * AT]:
        with tempfile.TemporaryDirectory() as folder:
            environment = {**os.environ, "HPT_CACHE": str(Path(folder) / "cache")}
            spec = {"folder": folder, "stages": size}
            child.call("bench.scale._finished", spec, environment)
            for number in range(rounds):
                measured = child.call("bench.scale._planning", {"config": f"{folder}/many.toml"}, environment)
                found.append({"size": size, "round": number, **measured})
                print(found[-1])
    summary = summarize(found)
    records.finish(out, Record("planning", machine.describe(), {"rounds": rounds}, summary, found), table)
    if summary.get(str(AT), {"seconds": 0.0})["seconds"] >= WANTED_S:
        raise typer.Exit(1)


def summarize(rows: list[dict[str, Any]]) -> dict[str, Any]:
    """Size -> medians over the rounds."""
    names = [name for name in rows[0] if name not in ("size", "round")]
    return {
        str(size): {name: statistics.median(r[name] for r in rows if r["size"] == size) for name in names}
        for size in sorted({row["size"] for row in rows})
    }


def table(record: Record) -> str:
    """One line per size."""
    rows = [
        (
            f"{int(size):,}",
            f"under {WANTED_S:g} s" if int(size) == AT else "",
            f"{found['seconds']:.1f} s",
            f"{found['load']:.1f} s",
            f"{found['plan']:.1f} s",
            f"{found['files']:,}",
        )
        for size, found in record.summary.items()
    ]
    return records.markdown(("finished stages", "target", "`hpt plan`", "config", "plan", "files looked at"), rows)
