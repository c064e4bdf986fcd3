"""The result of a finished run in a terminal."""

import io

from rich.console import Console

from benchmarks.report.summary import TerminalTable
from benchmarks.suite import get_suite
from flows.commands.result import print_leaderboard
from hpt_core.texts import HIDDEN

PAPER = ("aime24", "aime25", "amc", "math500", "minerva", "olympiadbench", "arc_challenge", "gpqa_diamond")
FOUND = TerminalTable(
    headers=["model", "AIME 2024\navg@2", "average\nin"],
    rows=[["base [red]\nmeasured", "75.0†\n50.0–90.1", "75.0"], ["HPT\npublished", "33.0", "-"]],
    notes=["† AIME 2024: temperature 1 instead of 0.6 [x]"],
)


def printed(width: int, found: TerminalTable = FOUND) -> list[str]:
    console = Console(file=io.StringIO(), width=width, highlight=False, soft_wrap=True)
    print_leaderboard(found, console)
    assert isinstance(console.file, io.StringIO)
    return [line.rstrip() for line in console.file.getvalue().splitlines()]


def test_every_cell_and_note_is_shown_and_nothing_is_read_as_markup() -> None:
    assert [line.split() for line in printed(120) if line] == [
        ["AIME", "2024", "average"],
        ["model", "avg@2", "in"],
        ["base", "[red]", "75.0†", "75.0"],
        ["measured", "50.0–90.1"],
        ["HPT", "33.0", "-"],
        ["published"],
        FOUND.notes[0].split(),
    ]


def test_columns_without_room_follow_in_further_tables() -> None:
    lines = [line for line in printed(24) if line not in FOUND.notes]
    assert all(len(line) <= 24 for line in lines)
    assert [line.split() for line in lines if "base" in line] == [["base", "[red]", "75.0†"], ["base", "[red]", "75.0"]]


def test_no_heading_of_the_papers_benchmarks_breaks_within_a_word_at_80_columns() -> None:
    titles = [get_suite(name).title for name in PAPER]
    found = TerminalTable(
        headers=["model", "average\nin", "average\nout", *(f"{title}\navg@32" for title in titles)],
        rows=[[f"{name}\nmeasured", *["52.7†‖\n50.1–55.3"] * 10] for name in ("hpt", "qwen2.5-math-7b-with-sft")],
        notes=[],
    )
    lines = printed(80, found)
    assert max(map(len, lines)) <= 80
    assert all(any(title in line for line in lines) for title in titles)
    assert sum(line.count("52.7†‖") for line in lines) == sum(line.count("50.1–55.3") for line in lines) == 20


def test_marks_of_direction_do_not_reach_the_terminal() -> None:
    found = TerminalTable(["model", "\u2067AIME\navg@2"], [["\u202egnp\nmeasured", "75.0"]], ["\u2067AIME: \x1b[31m"])
    text = "\n".join(printed(80, found))
    assert not HIDDEN.search(text)
    assert all(shown in text for shown in ("\\u202egnp", "\\u2067AIME\n", "\\u2067AIME: \\u001b[31m"))
