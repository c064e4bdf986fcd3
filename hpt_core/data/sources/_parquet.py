"""Reads rows of Parquet files of any size, each with its file and row number."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from hpt_core.errors import DataError

Row = dict[str, Any]
Columns = Mapping[str, Callable[[pa.DataType], bool]]
"""Required columns, each with a test of its type (pyarrow.types.is_string and the like)."""
BATCH_ROWS = 256


def is_text(kind: pa.DataType) -> bool:
    """Whether a column holds strings, regular or large."""
    return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind))


def is_messages(kind: pa.DataType) -> bool:
    """Whether a column holds lists of {role, content}."""
    if not (pa.types.is_list(kind) or pa.types.is_large_list(kind)) or not pa.types.is_struct(kind.value_type):
        return False
    return {"role", "content"} <= {field.name for field in kind.value_type}


def open_file(path: Path, columns: Columns) -> pq.ParquetFile:
    """Open the file at `path`. Raises DataError if it is missing, not Parquet, or lacks a column of `columns`."""
    try:
        file = pq.ParquetFile(path)
    except FileNotFoundError as error:
        raise DataError(f"{path} is missing", "correct the path") from error
    except (OSError, pa.ArrowException) as error:
        raise DataError(f"{path} cannot be read as Parquet: {_line(error)}", "replace it by a whole copy") from error
    schema = file.schema_arrow
    for name, fits in columns.items():
        if name not in schema.names:
            raise DataError(
                f"{path} has no column {name!r}; its columns are {', '.join(schema.names)}",
                "take a file of the source's schema",
            )
        if not fits(schema.field(name).type):
            raise DataError(
                f"column {name!r} of {path} is of type {schema.field(name).type}", "take a file of the source's schema"
            )
    return file


def read_rows(paths: Sequence[Path], columns: Columns) -> Iterator[tuple[str, Row]]:
    """Every row as ("FILE row N", row), N from 1 in each file. Raises DataError, if possible before the first row."""
    files = [open_file(path, columns) for path in paths]
    for path, file in zip(paths, files, strict=True):
        number = 0
        try:
            for batch in file.iter_batches(BATCH_ROWS):
                for row in batch.to_pylist():
                    number += 1
                    yield f"{path} row {number}", row
        except (OSError, pa.ArrowException) as error:
            raise DataError(
                f"{path} is damaged after row {number}: {_line(error)}", "replace it by a whole copy"
            ) from error


def count_rows(paths: Sequence[Path]) -> int:
    """Total rows, from the files' footers. Raises DataError."""
    return sum(open_file(path, {}).metadata.num_rows for path in paths)


def _line(error: Exception) -> str:
    return str(error).splitlines()[0][:200] if str(error) else type(error).__name__
