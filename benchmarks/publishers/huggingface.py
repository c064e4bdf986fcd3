"""Publish to a Hugging Face Hub repository: a dataset, or a static Space that shows the page."""

from pathlib import Path
from typing import Literal

from benchmarks.publishers._hub import HubConfig, Repository
from benchmarks.publishers._layout import INDEX, LIST, Content, current, pages, read_list, require_ours
from benchmarks.publishers.base import Occasion, Receipt

_TABLES = ("scores", "comparisons", "exclusive", "contamination", "training_log")


class HuggingFace(HubConfig):
    """`[[publish]] name = "huggingface"`."""

    kind: Literal["dataset", "space"] = "space"
    """Repository type. A Space shows the page, a dataset shows its tables."""

    def publish(self, report: Path, occasion: Occasion | None = None) -> Receipt:
        """Upload what the repository lacks in one commit. Raises PublishError."""
        content, occasion = Content(report, self.samples), occasion or Occasion()

        def changes(before: Repository) -> tuple[str, dict[str, bytes | Path]]:
            return self._changes(content, occasion, before)

        return content.receipt(self.target(self.kind), occasion, self.commit(self.kind, changes))

    def _changes(self, content: Content, occasion: Occasion, before: Repository) -> tuple[str, dict[str, bytes | Path]]:
        require_ours(before.read(INDEX), self.target(self.kind))
        runs = {run.key: run for run in read_list(before.read(LIST))}
        known, shown = runs.get(content.key), current(runs.values())
        if known is None or occasion.overrides != known.overrides or (occasion.board and shown != known):
            runs[content.key] = content.entry(occasion, known)
        files: dict[str, bytes | Path] = {
            f"{content.folder}/{name}": path
            for name, path in content.files.items()
            # A commit is whole, so a file that is there is the one that belongs there.
            if f"{content.folder}/{name}" not in before.names
        }
        files |= pages(runs.values())
        if (first := current(runs.values())) and first.key == content.key:
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
