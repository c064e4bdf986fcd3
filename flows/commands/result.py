"""What a finished run shows: the leaderboard, and where the page lies."""

import json
from typing import Any

from rich.markdown import Markdown

from flows.commands import common
from flows.config import PipelineConfig
from tasks import report
from tasks.part import Mades


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
    text = (page.output / "leaderboard.md").read_text(encoding="utf-8")
    common.OUT.print(Markdown(text) if common.OUT.is_terminal else text, markup=False)
    common.OUT.print(f"page: {page.output / 'site' / 'index.html'}", markup=False)
    for receipt in published:
        common.OUT.print(f"published: {receipt['target']}", markup=False)


def receipts(made: Mades) -> list[dict[str, Any]]:
    """What the publishers wrote down."""
    files = [m.output / "receipt.json" for m in made.values() if m.kind == "publish" and not m.provisional]
    return [json.loads(file.read_text(encoding="utf-8")) for file in files]
