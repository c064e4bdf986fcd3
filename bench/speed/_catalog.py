"""Fill the catalog of a store, make its board and its site. Runs in a process of its own."""

import resource
import time
from pathlib import Path
from typing import Any

from bench.child import answer
from benchmarks.site.build import Site
from hpt_core.artifacts import Store
from tasks.execution.catalog import fill


def measure(store: str, site: str) -> dict[str, Any]:
    """Seconds of the tables, of the board and of the site in the folder `site`; their size, and the peak memory of this
    process."""
    start, cpu = time.perf_counter(), time.process_time()
    tables = fill(Store(Path(store)))
    filled = time.perf_counter()
    new = Site(Store(Path(store)), tables)
    board = new.board
    ended = time.perf_counter()
    written = new.build(Path(site))
    built = time.perf_counter()
    files = [path.stat().st_size for path in Path(site).rglob("*") if path.is_file()]
    return {
        "tables_s": filled - start,
        "board_s": ended - filled,
        "site_s": built - ended,
        "files_written": len(written),
        "files": len(files),
        "largest_file": max(files),
        "site_bytes": sum(files),
        "cpu_s": time.process_time() - cpu,
        "scores": tables.scores.num_rows,
        "lines": sum(len(section.lines) for section in board.sections),
        "best": sum(cell.best for s in board.sections for line in s.lines for cell in line.cells if cell),
        "peak_gib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20,
    }


if __name__ == "__main__":
    answer(measure)
