"""The training log. Each step replaces the whole file, so it can be read during a run."""

from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from hpt_core import schemas
from hpt_core.files import write_parquet


class TrainingLog:
    """Rows of schemas.TRAIN_LOG in one Parquet file."""

    def __init__(self, path: Path, steps_done: int) -> None:
        """Continue the log at `path`. Rows after step `steps_done` are dropped, because those steps run again."""
        self.path = path
        rows = pq.read_table(path).to_pylist() if path.exists() else []
        self.rows: list[dict[str, Any]] = [row for row in rows if row["step"] <= steps_done]

    def append(self, row: dict[str, Any]) -> None:
        """Add one step's row and replace the file."""
        self.rows.append(row)
        self.write(self.path)

    def write(self, path: Path) -> None:
        """Write the whole table to `path`."""
        write_parquet(path, pa.Table.from_pylist(self.rows, schema=schemas.TRAIN_LOG))
