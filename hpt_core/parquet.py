"""Reads rows of users' Parquet files of any size, each with its file and row number."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
from pyarrow import types

from hpt_core.errors import DataError
from hpt_core.rows import Row

Columns = Mapping[str, Callable[[pa.DataType], bool]]
"""Required columns, each with a test of its type. A column without any value fits every test."""
BATCH_ROWS = 256


def is_text(kind: pa.DataType) -> bool:
    """Whether a column holds strings of any kind, or bytes, which may be text."""
    text = (types.is_string, types.is_large_string, types.is_string_view)
    return any(fits(kind) for fits in (*text, types.is_binary, types.is_large_binary, types.is_binary_view))


def is_messages(kind: pa.DataType) -> bool:
    """Whether a column holds lists of {role, content}."""
    lists = (types.is_list, types.is_large_list, types.is_fixed_size_list, types.is_list_view, types.is_large_list_view)
    if not any(fits(kind) for fits in lists) or not types.is_struct(kind.value_type):
        return False
    return {"role", "content"} <= {field.name for field in kind.value_type}


def is_object(kind: pa.DataType) -> bool:
    """Whether a column holds objects."""
    return bool(types.is_struct(kind) or types.is_map(kind))


def open_file(path: Path, columns: Columns) -> pq.ParquetFile:
    """Open the file at `path`. Raises DataError if it is missing, not Parquet, or lacks a column of `columns`."""
    try:
        file = pq.ParquetFile(path)
    except FileNotFoundError as error:
        raise DataError(f"{path} is missing", "correct the path") from error
    except (OSError, pa.ArrowException) as error:
        raise DataError(f"{path} cannot be read as Parquet: {_line(error)}", "replace it by a whole copy") from error
    schema = file.schema_arrow
    remedy = "take a file of the source's schema"
    for name, fits in columns.items():
        if name not in schema.names:
            raise DataError(f"{path} has no column {name!r}; its columns are {', '.join(schema.names)}", remedy)
        if schema.names.count(name) > 1:
            raise DataError(f"{path} has the column {name!r} twice", remedy)
        kind = schema.field(name).type
        plain = kind.value_type if types.is_dictionary(kind) else kind
        if not (types.is_null(plain) or fits(plain)):
            raise DataError(f"column {name!r} of {path} is of type {kind}", remedy)
    return file


def read_rows(
    paths: Sequence[Path], columns: Columns, only: Sequence[str] | None = None
) -> Iterator[tuple[str, Row | ValueError]]:
    """Every row as ("FILE row N", row), N from 1 in each file; for a row that cannot be read, the error that says why.

    `only` names the columns to read, if there are such columns. Raises DataError, if possible before the first row.
    """
    files = [open_file(path, columns) for path in paths]
    for path, file in zip(paths, files, strict=True):
        number = 0
        try:
            for batch in file.iter_batches(BATCH_ROWS, columns=only):
                for row in _rows(_exact(batch)):
                    number += 1
                    yield f"{path} row {number}", row
        except (OSError, pa.ArrowException) as error:
            raise DataError(
                f"{path} is damaged after row {number}: {_line(error)}", "replace it by a whole copy"
            ) from error


def count_rows(paths: Sequence[Path]) -> int:
    """Total rows, from the files' footers. Raises DataError."""
    return sum(open_file(path, {}).metadata.num_rows for path in paths)


def _rows(batch: pa.RecordBatch) -> list[Row | ValueError]:
    """The rows of a batch; the error instead of a row with text that is not UTF-8."""
    try:
        return list(batch.to_pylist(maps_as_pydicts="strict"))
    except (ValueError, KeyError) as error:
        if batch.num_rows > 1:
            return [row for i in range(batch.num_rows) for row in _rows(batch.slice(i, 1))]
        reason = "is not UTF-8 text" if isinstance(error, UnicodeDecodeError) else f"cannot be read: {_line(error)}"
        return [ValueError(f"{_unreadable(batch)} {reason}")]


def _unreadable(row: pa.RecordBatch) -> str:
    """The column of a single row that cannot be read."""
    for name, column in zip(row.schema.names, row.columns, strict=True):
        try:
            column.to_pylist(maps_as_pydicts="strict")
        except (ValueError, KeyError):
            return str(name)
    return "the row"


def _exact(batch: pa.RecordBatch) -> pa.RecordBatch:
    """The batch with 32-bit floats as text: as 64-bit floats, they would have other digits (0.1 is
    0.10000000149011612)."""
    schema = pa.schema([field.with_type(_exact_type(field.type)) for field in batch.schema])
    return batch if schema.equals(batch.schema) else batch.cast(schema)


def _exact_type(kind: pa.DataType) -> pa.DataType:
    if types.is_float32(kind):
        return pa.string()
    if types.is_list(kind):
        return pa.list_(_exact_type(kind.value_type))
    if types.is_struct(kind):
        return pa.struct([field.with_type(_exact_type(field.type)) for field in kind])
    return kind


def _line(error: Exception) -> str:
    return str(error).splitlines()[0][:200] if str(error) else type(error).__name__
