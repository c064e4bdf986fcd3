"""The result of a finished run in a terminal."""

import io

from rich.console import Console

from benchmarks.report.summary import TerminalTable
from flows.commands.result import print_leaderboard

FOUND = TerminalTable(
    headers=["model", "source", "AIME 2024 avg@2", "average in"],
    rows=[["base [red]", "measured", "75.0† [50.0–90.1]", "75.0"], ["HPT", "published", "33.0", "-"]],
    notes=["† AIME 2024: temperature 1 instead of 0.6 [x]"],
)


def printed(width: int) -> list[str]:
    console = Console(file=io.StringIO(), width=width, highlight=False, soft_wrap=True)
    print_leaderboard(FOUND, console)
    assert isinstance(console.file, io.StringIO)
    return [line.rstrip() for line in console.file.getvalue().splitlines()]


def test_every_cell_and_note_is_shown_and_nothing_is_read_as_markup() -> None:
    header, base, hpt, note = printed(120)
    for title in FOUND.headers:
        assert title in header
    assert base.startswith("base [red]  measured")
    assert "75.0† [50.0–90.1]" in base
    assert hpt.startswith("HPT         published")
    assert hpt.endswith("-")
    assert note == FOUND.notes[0]


def test_a_narrower_terminal_breaks_between_number_and_interval() -> None:
    lines = printed(40)
    assert all(len(line) <= 40 for line in lines if line not in FOUND.notes)
    at = next(i for i, line in enumerate(lines) if "75.0" in line)
    assert lines[at].split() == ["base", "measured", "75.0†", "75.0"]
    assert lines[at + 1].split() == ["[red]", "[50.0–90.1]"]


def test_a_narrow_terminal_leaves_out_intervals_but_not_numbers() -> None:
    lines = printed(32)
    assert all(len(line) <= 32 for line in lines if line not in (*FOUND.notes, lines[-1]))
    base = next(line for line in lines if "75.0" in line)
    assert base.split() == ["base", "measured", "75.0†", "75.0"]
    assert "50.0" not in "".join(lines)
    assert "too narrow" in lines[-1]
