"""The leaderboard as Markdown."""

import re

from benchmarks.report.board import MARK, PUBLISHED_MARK, Board, Cell, Column
from benchmarks.report.inputs import ReportInputs
from benchmarks.report.tables import GROUPS


def escape(text: str) -> str:
    """Text that Markdown (and the HTML in it) shows as it is, on one line."""
    return re.sub(r"([\\`*_\[\]<>|~&$#])", r"\\\1", " ".join(text.split()))


def leaderboard(inputs: ReportInputs, board: Board) -> str:
    """leaderboard.md."""
    headers = ["Model", "Source", *(_header(c) for c in board.columns)]
    lines = [
        f"# {escape(inputs.title)}",
        "",
        f"Pipeline {escape(inputs.pipeline)}, {escape(inputs.created_text)}.",
        "Scores in percent, in brackets their 95 % intervals.",
        *(part for note in inputs.notes for part in ("", escape(note))),
        "",
        f"| {' | '.join(headers)} |",
        f"|{'|'.join(['---', '---', *('---:' for _ in board.columns)])}|",
        *(f"| {' | '.join([escape(line.label), line.source, *map(_cell, line.cells)])} |" for line in board.lines),
        "",
        *_footnotes(board),
    ]
    return "\n".join(lines) + "\n"


def summarised(board: Board) -> list[str]:
    """The deviations of the benchmarks, one sentence each phrase: "AIME 2024: 12 of 30 questions (base, HPT)"."""
    grouped: dict[tuple[str, str], list[str]] = {}
    for label, column, phrase in board.deviations:
        grouped.setdefault((column, phrase), []).append(label)
    measured = sum(line.source == "measured" for line in board.lines)
    return [
        f"{column}: {phrase}" + ("" if len(labels) == measured else f" ({', '.join(labels)})")
        for (column, phrase), labels in grouped.items()
    ]


def _header(column: Column) -> str:
    group = f" ({GROUPS['in' if column.group == 'in' else 'out'].lower()})" if column.average else ""
    return f"{escape(column.title)}{group} {column.measure}"


def _cell(cell: Cell | None) -> str:
    if cell is None:
        return "–"
    number = f"**{cell.text}**" if cell.best else cell.text
    mark = f" {cell.mark}" if cell.mark else ""
    return f"{number}{mark} ({cell.interval})" if cell.interval else f"{number}{mark}"


def footnotes(board: Board) -> list[str]:
    """What the marks mean, one plain sentence each."""
    cells = [cell for line in board.lines for cell in line.cells if cell]
    found = []
    if marked := summarised(board):
        found.append(f"{MARK} Not the benchmark's own protocol, so not comparable with others: {'; '.join(marked)}.")
    if any(cell.mark == PUBLISHED_MARK for cell in cells):
        found.append(f"{PUBLISHED_MARK} Taken anew from the printed scores, over the benchmarks shown.")
    return found + [f"Published rows were measured by others: {source}." for source in board.sources]


def _footnotes(board: Board) -> list[str]:
    bold = any(cell and cell.best for line in board.lines for cell in line.cells)
    notes = ["Bold: the highest measured number of a column."] if bold else []
    notes += map(escape, footnotes(board))
    return [part for note in notes for part in (note, "")][:-1]
