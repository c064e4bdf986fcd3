"""The tables of a store and its board: 1,000 models on 8 benchmarks, 10 million samples.

The store is made up (bench/stores.py): one run for each model, with samples and verdicts as Parquet files of the real
schemas and short responses. A new process reads all of it, writes the catalog and makes the board. Then one model is
added, and another process does the same again.

Exit code 1: the first takes 60 s or more, or 2 GiB, or the second 2 s.
"""

import os
import tempfile
import time
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer

from bench import child, machine, options, records
from bench.records import Record
from bench.stores import Correct, MadeUp, drawn, rows_of

SAMPLES = {
    "aime24": 16, "aime25": 16, "amc": 8, "math500": 4, "minerva": 4, "olympiadbench": 4, "arc_challenge": 1,
    "gpqa_diamond": 8,
}  # fmt: skip
"""Benchmark -> samples per question."""
ALL_S, MORE_S, MEMORY_GIB = 60.0, 2.0, 2.0
OUT = records.latest("catalog")


def main(
    models: Annotated[int, typer.Option(help="models, each trained and evaluated by a run of its own")] = 1000,
    out: options.Out = OUT,
) -> None:
    """Measure the catalog and the board of a store with many models (some minutes, most of them to make the store)."""
    environment = {**os.environ, "OMP_NUM_THREADS": "2"}
    with tempfile.TemporaryDirectory(prefix="hpt-catalog-") as folder:
        made, parent = MadeUp(Path(folder)), ""
        generator = np.random.default_rng(1)
        for number in range(models):
            _add(made, generator, number, parent)
        whole = child.call("bench.speed._catalog", {"store": folder}, environment)
        _add(made, generator, models, parent)
        time.sleep(0.1)
        more = child.call("bench.speed._catalog", {"store": folder}, environment)
        size = sum(path.stat().st_size for path in (Path(folder) / "catalog").glob("*.parquet"))
    total = sum(k * rows_of(name) for name, k in SAMPLES.items()) * models
    facts = {"models": models, "benchmarks": len(SAMPLES), "samples": total}
    record = Record("catalog", machine.describe(2), facts, {"whole": whole, "more": more, "tables_bytes": size})
    records.finish(out, record, table)
    seconds = whole["tables_s"] + whole["board_s"], more["tables_s"] + more["board_s"]
    if seconds[0] >= ALL_S or seconds[1] >= MORE_S or whole["peak_gib"] >= MEMORY_GIB:
        raise typer.Exit(1)


def _add(made: MadeUp, generator: np.random.Generator, number: int, parent: str) -> None:
    """One run with one model. Levels differ as those of a sweep do."""
    level = 0.3 + 0.2 * ((number * 7919) % 1000) / 1000
    answers: dict[str, Correct] = {name: drawn(generator, rows_of(name), k, level) for name, k in SAMPLES.items()}
    made.run(f"sweep{number % 10}", {f"hpt_{number}": answers}, version=str(number), parent=parent)


def table(record: Record) -> str:
    """Seconds and memory with their targets."""
    whole, more = record.summary["whole"], record.summary["more"]
    facts = record.settings
    what = f"{facts['models']:,} models, {facts['benchmarks']} benchmarks, {facts['samples'] / 1e6:.1f} million samples"
    rows = [
        (f"tables and board: {what}", f"under {ALL_S:.0f} s", _seconds(whole)),
        ("peak memory", f"under {MEMORY_GIB:.0f} GiB", f"{whole['peak_gib']:.2f} GiB"),
        ("the same with one more model", f"under {MORE_S:.0f} s", _seconds(more)),
        ("size of the tables without the questions", "", f"{record.summary['tables_bytes'] / 2**20:.1f} MiB"),
    ]
    return records.markdown(("", "target", "measured"), rows, left=3)


def _seconds(found: dict[str, Any]) -> str:
    total = found["tables_s"] + found["board_s"]
    return (
        f"{total:.1f} s ({found['tables_s']:.1f} and {found['board_s']:.1f}); {found['cpu_s']:.1f} s of processor time"
    )
