"""Show the result of a finished run: the leaderboard and the path of its page."""

from pathlib import Path
from typing import Any

from rich.console import Console

from benchmarks.report.summary import TerminalTable, terminal_table
from flows.commands import common
from flows.commands.tables import print_scores
from hpt_core.texts import harmless
from tasks.execution.artifact import Artifacts
from tasks.execution.config import PipelineConfig


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
    """Print the leaderboard as tables, then its notes."""
    print_scores(found.headers, found.rows, console)
    for note in found.notes:
        console.print(harmless(note), markup=False)
