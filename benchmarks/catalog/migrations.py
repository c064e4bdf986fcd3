"""Reads what an earlier version of the schemas wrote.

A step takes the rows of a record, and the questions of a score, from one version to the next. So a file is never
rewritten, and a reader finds the columns of today in it.
"""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import NamedTuple

import pyarrow as pa

from benchmarks.catalog import schemas
from benchmarks.catalog.schemas import Row
from hpt_core.errors import StoreError

Rows = dict[str, list[Row]]
"""Rows by the name of their table."""


class Migration(NamedTuple):
    """From one version to the next."""

    rows: Callable[[Rows], Rows] = lambda rows: rows
    """The rows of a record."""
    questions: Callable[[pa.Table], pa.Table] = lambda table: table
    """The questions of a score."""


STEPS: Mapping[int, Migration] = {
    1: Migration(),  # 2 has SCORES.lengths, which is null here, and OVERLAPS
    2: Migration(),  # 3 has SCORES.outcomes, which is null here
}
"""Version -> the step to the next one."""


def migrated(rows: Rows, version: int, path: Path) -> Rows:
    """The rows of a record that was written by `version`. Raises StoreError for a version of a later release."""
    for step in _steps(version, path):
        rows = step.rows(rows)
    return rows


def migrated_questions(table: pa.Table, path: Path) -> pa.Table:
    """The questions of a score, in today's columns. Raises StoreError."""
    metadata = table.schema.metadata or {}
    for step in _steps(int(metadata.get(schemas.VERSION_KEY, 0)), path):
        table = step.questions(table)
    return table.select(schemas.QUESTION_SCORES.names).cast(schemas.QUESTION_SCORES)


def _steps(version: int, path: Path) -> list[Migration]:
    if not 1 <= version <= schemas.VERSION:
        raise StoreError(
            f"{path} has version {version} of the catalog's tables; this release reads 1 to {schemas.VERSION}",
            "use the release that wrote it, or remove the file",
        )
    return [STEPS[number] for number in range(version, schemas.VERSION)]
