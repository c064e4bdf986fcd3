"""The leaderboard as plain text for a terminal."""

from pathlib import Path
from typing import NamedTuple

import pyarrow as pa
import pyarrow.parquet as pq

from benchmarks.report.board import Cell, make_board
from benchmarks.report.markdown import footnotes
from hpt_core.errors import DataError


class TerminalTable(NamedTuple):
    """What the command line prints. Headers and cells have one or more lines, and are not escaped for any markup."""

    headers: list[str]
    rows: list[list[str]]
    notes: list[str]


def terminal_table(output: Path) -> TerminalTable:
    """The leaderboard of the report in folder `output`. Raises DataError if it has no scores."""
    path = output / "tables" / "scores.parquet"
    try:
        board = make_board(pq.read_table(path))
    except (OSError, pa.ArrowException) as error:
        raise DataError(f"cannot read {path}: {str(error).splitlines()[0]}", "build the report again") from error
    headers = ["model"]
    for column in board.columns:
        headers.append(f"average\n{column.group}" if column.average else f"{column.title}\n{column.measure}")
    rows = [[f"{line.label}\n{line.source}", *map(_cell, line.cells)] for line in board.lines]
    return TerminalTable(headers, rows, footnotes(board))


def _cell(cell: Cell | None) -> str:
    if cell is None:
        return "-"
    return "\n".join(filter(None, [f"{cell.text}{cell.mark}", cell.interval, cell.cut]))
