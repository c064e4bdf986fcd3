"""Tables of scores on a terminal of any width."""

from collections.abc import Iterator, Sequence

from rich.cells import cell_len
from rich.console import Console
from rich.table import Table
from rich.text import Text

from flows.commands import common
from hpt_core.texts import harmless

WIDEST_NAME = 22
GAP = 2
"""Spaces between two columns."""


def print_scores(headers: Sequence[str], rows: Sequence[Sequence[str]], console: Console = common.OUT) -> None:
    """Print rows of texts, each of one or more lines. The first column holds names. Columns for which the terminal has
    no room follow in further tables. Nothing is read as markup."""
    columns = [[harmless(text) for text in column] for column in zip(headers, *rows, strict=True)]
    names, *scores = columns
    first = min(WIDEST_NAME, _width(names))
    for block in _blocks(scores, console.width - first):
        table = Table(box=None, pad_edge=False, padding=(0, GAP, 1, 0), header_style="bold")
        table.add_column(Text(names[0]), width=first, overflow="fold")
        for header, *_ in block:
            table.add_column(Text(header), justify="right", overflow="fold")
        for row in zip(names[1:], *(cells for _, *cells in block), strict=True):
            table.add_row(*map(Text, row))
        console.print(table, soft_wrap=False)


def _blocks(columns: Sequence[Sequence[str]], room: int) -> Iterator[list[Sequence[str]]]:
    """The columns of each table, so that it is not wider than the terminal."""
    block: list[Sequence[str]] = []
    left = room
    for column in columns:
        width = GAP + _width(column)
        if block and width > left:
            yield block
            block, left = [], room
        block.append(column)
        left -= width
    if block:
        yield block


def _width(texts: Sequence[str]) -> int:
    return max(cell_len(line) for text in texts for line in text.split("\n"))
