"""The tables of a store, its board and its site: 1,000 models on 8 benchmarks, 10 million samples.

The store is made up (bench/stores.py): one run for each model, with samples and verdicts as Parquet files of the real
schemas and short responses. A new process reads all of it, writes the catalog, makes the board and builds the site.
Then one model is added, and another process does the same again. Chromium opens the Board of the site, and that of a
store with 40 models, until their lines are there.

Exit code 1: the first takes 60 s or more, or 2 GiB, or the second 2 s, or a Board 1.5 s or 0.5 s.
"""

import os
import shutil
import statistics
import tempfile
import threading
import time
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer
from playwright.sync_api import sync_playwright

from bench import child, machine, options, records
from bench.records import Record
from bench.stores import Correct, MadeUp, drawn, rows_of

SAMPLES = {
    "aime24": 16, "aime25": 16, "amc": 8, "math500": 4, "minerva": 4, "olympiadbench": 4, "arc_challenge": 1,
    "gpqa_diamond": 8,
}  # fmt: skip
"""Benchmark -> samples per question."""
ALL_S, MORE_S, MEMORY_GIB, OPEN_S, OPEN_FEW_S = 60.0, 2.0, 2.0, 1.5, 0.5
OUT = records.latest("catalog")


def main(
    models: Annotated[int, typer.Option(help="models, each trained and evaluated by a run of its own")] = 1000,
    few: Annotated[int, typer.Option(help="models of the small store")] = 40,
    out: options.Out = OUT,
) -> None:
    """Measure catalog, board and site of a store with many models (some minutes, most of them to make the store)."""
    environment = {**os.environ, "OMP_NUM_THREADS": "2"}
    with tempfile.TemporaryDirectory(prefix="hpt-catalog-") as folder:
        store, site = f"{folder}/store", f"{folder}/site"
        made, generator = MadeUp(Path(store)), np.random.default_rng(1)
        for number in range(models):
            _add(made, generator, number)
        whole = child.call("bench.speed._catalog", {"store": store, "site": site}, environment)
        _add(made, generator, models)
        time.sleep(0.1)
        more = child.call("bench.speed._catalog", {"store": store, "site": site}, environment)
        size = sum(path.stat().st_size for path in Path(store, "catalog").glob("*.parquet"))
        board = sum(Path(site, "data", name).stat().st_size for name in ("site.json", "board.json"))
        static = sum(Path(site, name).stat().st_size for name in ("index.html", "site.js", "site.css"))
        small = MadeUp(Path(folder, "few"))
        for number in range(few):
            _add(small, generator, number)
        child.call("bench.speed._catalog", {"store": f"{folder}/few", "site": f"{folder}/small"}, environment)
        opened = {"whole": _opened(Path(site)), "few": _opened(Path(folder, "small"))}
    total = sum(k * rows_of(name) for name, k in SAMPLES.items()) * models
    facts = {"models": models, "few": few, "benchmarks": len(SAMPLES), "samples": total}
    summary = {
        "whole": whole,
        "more": more,
        "tables_bytes": size,
        "board_bytes": board,
        "static_bytes": static,
        "opened_s": opened,
    }
    records.finish(out, Record("catalog", machine.describe(2), facts, summary), table)
    missed = [
        _total(whole) >= ALL_S,
        _total(more) >= MORE_S,
        whole["peak_gib"] >= MEMORY_GIB,
        opened["whole"] >= OPEN_S,
        opened["few"] >= OPEN_FEW_S,
    ]
    if any(missed):
        raise typer.Exit(1)


def _opened(site: Path) -> float:
    """Seconds until the Board shows its lines in Chromium: the median of five."""
    chromium = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    if chromium is None:
        raise SystemExit("no Chromium was found; install it")
    handler = partial(Quiet, directory=str(site))
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server, sync_playwright() as playwright:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox", "--disable-gpu"])
        seconds = []
        for _ in range(5):
            page = browser.new_context().new_page()
            start = time.perf_counter()
            page.goto(f"http://127.0.0.1:{server.server_port}/index.html")
            page.wait_for_selector("#board tbody tr")
            seconds.append(time.perf_counter() - start)
        browser.close()
        server.shutdown()
    return statistics.median(seconds)


class Quiet(SimpleHTTPRequestHandler):
    """Serves the files of a folder and logs nothing."""

    def log_message(self, format: str, *args: object) -> None:
        """Nothing."""


def _add(made: MadeUp, generator: np.random.Generator, number: int) -> None:
    """One run with one model. Levels differ as those of a sweep do."""
    level = 0.3 + 0.2 * ((number * 7919) % 1000) / 1000
    answers: dict[str, Correct] = {name: drawn(generator, rows_of(name), k, level) for name, k in SAMPLES.items()}
    made.run(f"sweep{number % 10}", {f"hpt_{number}": answers}, version=str(number))


def table(record: Record) -> str:
    """Seconds and memory with their targets."""
    whole, more = record.summary["whole"], record.summary["more"]
    facts = record.settings
    what = f"{facts['models']:,} models, {facts['benchmarks']} benchmarks, {facts['samples'] / 1e6:.1f} million samples"
    opened, kib = record.summary["opened_s"], 2**10
    rows = [
        (f"tables, board and site: {what}", f"under {ALL_S:.0f} s", _seconds(whole)),
        ("peak memory", f"under {MEMORY_GIB:.0f} GiB", f"{whole['peak_gib']:.2f} GiB"),
        ("the same with one more model", f"under {MORE_S:.0f} s", _seconds(more)),
        (
            "what the Board loads: the catalog of its models",
            "under 1 MB",
            f"{record.summary['board_bytes'] / 1e6:.2f} MB",
        ),
        ("all tables of the store without the questions", "", f"{record.summary['tables_bytes'] / 1e6:.1f} MB"),
        ("Board before its data", "under 300 kB", f"{record.summary['static_bytes'] / kib:.0f} KiB"),
        ("largest file of the site", "under 2 MB", f"{whole['largest_file'] / 1e6:.2f} MB"),
        ("Board in Chromium", f"under {OPEN_S} s", f"{opened['whole']:.2f} s"),
        (f"the same with {facts['few']} models", f"under {OPEN_FEW_S} s", f"{opened['few']:.2f} s"),
    ]
    return records.markdown(("", "target", "measured"), rows, left=3)


def _total(found: dict[str, Any]) -> float:
    return float(found["tables_s"] + found["board_s"] + found["site_s"])


def _seconds(found: dict[str, Any]) -> str:
    parts = ", ".join(f"{found[name]:.1f}" for name in ("tables_s", "board_s", "site_s"))
    return f"{_total(found):.1f} s ({parts}); {found['cpu_s']:.1f} s of processor time for the first two"
