"""What a finished run shows: the leaderboard, and where the page lies."""

import json
from typing import Any

from rich.cells import cell_len
from rich.console import Console
from rich.table import Table
from rich.text import Text

from benchmarks.report.summary import TerminalTable, terminal_table
from flows.commands import common
from flows.config import PipelineConfig
from tasks import report
from tasks.part import Mades

GAP = 2
"""Spaces between two columns of the leaderboard."""


def print_result(config: PipelineConfig, made: Mades, as_json: bool) -> None:
    """Print the leaderboard, the page's path and what was published; as JSON the outputs with them."""
    page = made.get(report.KEY)
    published = receipts(made)
    if as_json:
        common.print_json(
            {
                "pipeline": config.name,
                "page": None if page is None else str(page.output / "site" / "index.html"),
                "tables": None if page is None else str(page.output / "tables"),
                "published": published,
                "outputs": [m.as_json() for m in made.values()],
            }
        )
        return
    if page is None:
        for m in made.values():
            common.OUT.print(f"{m.key}: {m.folder}")
        return
    if common.OUT.is_terminal:
        print_leaderboard(terminal_table(page.output))
    else:
        # A pipe gets what does not depend on a terminal's width.
        common.OUT.print((page.output / "leaderboard.md").read_text(encoding="utf-8"), markup=False)
    common.OUT.print(f"page: {page.output / 'site' / 'index.html'}", markup=False)
    for receipt in published:
        common.OUT.print(f"published: {receipt['target']}", markup=False)


def print_leaderboard(found: TerminalTable, console: Console = common.OUT) -> None:
    """Print the leaderboard as a table, then its notes; intervals are left out where the terminal is too narrow.

    Names come from the config: nothing in them is markup.
    """
    rows, notes = found.rows, found.notes
    room = console.width - GAP * (len(found.headers) - 1)
    if sum(_longest_words(rows)) > room:
        rows = [[*row[:2], *(cell.partition(" [")[0] for cell in row[2:])] for row in rows]
        notes = [*notes, "The terminal is too narrow for the 95 % intervals; the page has them."]
    table = Table(box=None, pad_edge=False, padding=(0, GAP, 0, 0), header_style="bold")
    for i, (header, width) in enumerate(zip(found.headers, _widths(found.headers, rows, room), strict=True)):
        table.add_column(Text(header), justify="left" if i < 2 else "right", overflow="fold", width=width)
    for row in rows:
        table.add_row(*map(Text, row))
    console.print(table, soft_wrap=False)
    for note in notes:
        console.print(note, markup=False)


def _widths(headers: list[str], rows: list[list[str]], room: int) -> list[int]:
    """Widths of the columns: the cells' words stay whole, and headers are folded where there is no room for them."""
    widths = _longest_words(rows)
    full = [max(map(cell_len, column)) for column in zip(headers, *rows, strict=True)]
    while sum(widths) < room and (short := [i for i, width in enumerate(widths) if width < full[i]]):
        widths[min(short, key=lambda i: widths[i])] += 1
    return widths


def _longest_words(rows: list[list[str]]) -> list[int]:
    return [
        max(cell_len(word) for cell in column for word in cell.split() or [""]) for column in zip(*rows, strict=True)
    ]


def receipts(made: Mades) -> list[dict[str, Any]]:
    """What the publishers wrote down."""
    files = [m.output / "receipt.json" for m in made.values() if m.kind == "publish" and not m.provisional]
    return [json.loads(file.read_text(encoding="utf-8")) for file in files]
