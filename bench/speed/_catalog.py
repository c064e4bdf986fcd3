"""Fill the catalog of a store, make its board, and do it again with one more model. Runs in a process of its own."""

import resource
import time
from pathlib import Path
from typing import Any

from bench.child import answer
from benchmarks.catalog.board import make_board
from hpt_core.artifacts import Store
from tasks.execution.catalog import fill


def measure(store: str) -> dict[str, Any]:
    """Seconds of the tables and of the board, their size, and the peak memory of this process."""
    start, cpu = time.perf_counter(), time.process_time()
    tables = fill(Store(Path(store)))
    filled = time.perf_counter()
    board = make_board(tables)
    ended = time.perf_counter()
    return {
        "tables_s": filled - start,
        "board_s": ended - filled,
        "cpu_s": time.process_time() - cpu,
        "scores": tables.scores.num_rows,
        "lines": sum(len(section.lines) for section in board.sections),
        "best": sum(cell.best for s in board.sections for line in s.lines for cell in line.cells if cell),
        "peak_gib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20,
    }


if __name__ == "__main__":
    answer(measure)
