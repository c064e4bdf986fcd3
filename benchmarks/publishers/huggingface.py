"""Publish to a Hugging Face Hub repository: a dataset, or a static Space that shows the page."""

from pathlib import Path
from typing import Literal

from benchmarks.publishers._hub import HubConfig, Repository
from benchmarks.publishers._layout import (
    INDEX,
    LIST,
    Content,
    contents,
    current,
    outdated,
    pages,
    read_list,
    require_ours,
)
from benchmarks.publishers.base import Occasion, Receipt

_TABLES = ("scores", "comparisons", "exclusive", "contamination", "training_log")


class HuggingFace(HubConfig):
    """`[[publish]] name = "huggingface"`."""

    kind: Literal["dataset", "space"] = "space"
    """Repository type. A Space shows the page, a dataset shows its tables."""

    def publish(self, report: Path, occasion: Occasion | None = None) -> Receipt:
        """Upload what the repository lacks in one commit. Raises PublishError."""
        occasion = occasion or Occasion()
        found = contents(report, self.samples, occasion)

        def changes(before: Repository) -> tuple[str, dict[str, bytes | Path | None]]:
            return self._changes(found, occasion, before)

        return found[0].receipt(self.target(self.kind), occasion, self.commit(self.kind, changes))

    def _changes(
        self, found: list[Content], occasion: Occasion, before: Repository
    ) -> tuple[str, dict[str, bytes | Path | None]]:
        require_ours(before.read(INDEX), self.target(self.kind))
        runs = {run.key: run for run in read_list(before.read(LIST))}
        for content in found:
            if content.is_new(occasion, runs.values()):
                runs[content.key] = content.entry(occasion, runs.values())
        files: dict[str, bytes | Path | None] = {
            f"{content.folder}/{name}": path
            for content in found
            for name, path in content.files.items()
            # A commit appears whole, and a folder is named by its content: a file that exists is the right one.
            if f"{content.folder}/{name}" not in before.names
        }
        for old in outdated(runs.values()):
            files = {name: path for name, path in files.items() if not name.startswith(f"{old.folder}/")}
            files |= {name: None for name in before.names if name.startswith(f"{old.folder}/")}
        files |= pages(runs.values())
        content = found[0]
        report = current(run for run in runs.values() if run.top == content.top)
        if report and report.key == content.key:
            board = content.files["leaderboard.md"].read_text(encoding="utf-8")
            files["README.md"] = (self._front(content) + board).encode()
        return f"{'Leaderboard' if occasion.board else 'Run'} {content.key[:12]}", files

    def _front(self, content: Content) -> str:
        """Front matter of README.md, which the Hub requires. leaderboard.md follows it."""
        if self.kind == "space":
            return f"---\ntitle: Leaderboard\nsdk: static\napp_file: {INDEX}\n---\n\n"
        names = [name for name in _TABLES if f"tables/{name}.parquet" in content.files]
        tables = [f"- config_name: {name}\n  data_files: {content.folder}/tables/{name}.parquet\n" for name in names]
        return f"---\npretty_name: Leaderboard\nconfigs:\n{''.join(tables)}---\n\n"
