"""What Prefect's pages show of a report: the scores as a table, the leaderboard as Markdown."""

import logging
import math
from typing import Any

from prefect.artifacts import create_markdown_artifact, create_table_artifact

from tasks import report
from tasks.part import Mades

LOG = logging.getLogger("hpt.flows")


def show_leaderboard(name: str, made: Mades) -> None:
    """Create the artifacts `NAME-scores` and `NAME-leaderboard`; nothing where there is no report.

    A server that is away loses the artifacts and nothing else: the report lies in the store.
    """
    page = made.get(report.KEY)
    if page is None:
        return
    key = "".join(c if c.isalnum() else "-" for c in name.lower())
    try:
        create_table_artifact(key=f"{key}-scores", table=score_rows(page.output / "tables" / "scores.parquet"))
        text = (page.output / "leaderboard.md").read_text(encoding="utf-8")
        create_markdown_artifact(key=f"{key}-leaderboard", markdown=text, description=f"Leaderboard of {name}")
    except Exception as error:
        LOG.warning("the leaderboard could not be shown in Prefect: %s", error)


def score_rows(file: Any) -> list[dict[str, Any]]:
    """Rows of a Parquet table as plain JSON values, rounded for reading."""
    import pyarrow.parquet as pq

    return [{k: _plain(v) for k, v in row.items()} for row in pq.read_table(file).to_pylist()]


def _plain(value: Any) -> Any:
    if isinstance(value, float):
        return None if math.isnan(value) else round(value, 4)
    return value if isinstance(value, str | int | bool | None) else str(value)
