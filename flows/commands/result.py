"""Show the result of a finished run: the leaderboard and the path of its page."""

from pathlib import Path
from typing import Any

from rich.cells import cell_len
from rich.console import Console
from rich.table import Table
from rich.text import Text

from benchmarks.report.summary import TerminalTable, terminal_table
from flows.commands import common
from tasks.execution.artifact import Artifacts
from tasks.execution.config import PipelineConfig

GAP = 2
"""Spaces between two columns of the leaderboard."""


def print_result(config: PipelineConfig, artifacts: Artifacts, as_json: bool) -> None:
    """Print the stages' summaries: leaderboard, page and publications. JSON also lists the artifacts."""
    shown = [found for a in artifacts.values() if (found := config.kind_of(a.key.stage).show(a)) is not None]
    if as_json:
        facts: dict[str, Any] = {"pipeline": config.name, "page": None, "tables": None, "published": []}
        for found in shown:
            for name, value in found.facts.items():
                facts[name] = [*facts.get(name, []), *value] if isinstance(value, list) else value
        common.print_json({**facts, "artifacts": [artifact.as_json() for artifact in artifacts.values()]})
        return
    if not shown:
        for artifact in artifacts.values():
            common.OUT.print(f"{artifact.key}: {artifact.folder}", markup=False)
        return
    for found in shown:
        if found.report is not None:
            _print_report(found.report)
        common.OUT.print(found.line, markup=False)


def _print_report(folder: Path) -> None:
    if common.OUT.is_terminal:
        print_leaderboard(terminal_table(folder))
    else:
        # For a pipe, print a format that does not depend on the terminal's width.
        common.OUT.print((folder / "leaderboard.md").read_text(encoding="utf-8"), markup=False)


def print_leaderboard(found: TerminalTable, console: Console = common.OUT) -> None:
    """Print the leaderboard as a table, then its notes. If the terminal is too narrow, intervals are left out.

    Names come from the config and are not parsed as markup.
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
    """Column widths that keep the words in cells whole; headers are folded if there is no room for them."""
    widths = _longest_words(rows)
    full = [max(map(cell_len, column)) for column in zip(headers, *rows, strict=True)]
    while sum(widths) < room and (short := [i for i, width in enumerate(widths) if width < full[i]]):
        widths[min(short, key=lambda i: widths[i])] += 1
    return widths


def _longest_words(rows: list[list[str]]) -> list[int]:
    return [
        max(cell_len(word) for cell in column for word in cell.split() or [""]) for column in zip(*rows, strict=True)
    ]
