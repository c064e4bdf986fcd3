"""Reads rows of users' Parquet files of any size, each with its file and row number."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from pyarrow import types

from hpt_core.errors import DataError, near
from hpt_core.rows import Row, no_rows

Columns = Mapping[str, Callable[[pa.DataType], bool]]
"""Required columns, each with a test of its type. A column without any value fits every test."""
BATCH_ROWS = 256
_STRINGS = (types.is_string, types.is_large_string, types.is_string_view)
_LISTS = (types.is_list, types.is_large_list, types.is_fixed_size_list, types.is_list_view, types.is_large_list_view)
_SHORT = {"halffloat": np.float16, "float": np.float32}
"""Arrow's names of the floats of fewer than 64 bits -> types whose text is the shortest that gives the number."""
_UNREADABLE = (ValueError, LookupError, ArithmeticError, TypeError, NotImplementedError)
"""What pyarrow raises for values that Python cannot hold: times out of range, unknown time zones, repeated keys."""


def is_text(kind: pa.DataType) -> bool:
    """Whether a column holds strings of any kind, or bytes, which may be text."""
    return any(fits(kind) for fits in (*_STRINGS, types.is_binary, types.is_large_binary, types.is_binary_view))


def is_messages(kind: pa.DataType) -> bool:
    """Whether a column holds lists of {role, content}."""
    if not _is_list(kind) or not types.is_struct(kind.value_type):
        return False
    return {"role", "content"} <= {field.name for field in kind.value_type}


def is_object(kind: pa.DataType) -> bool:
    """Whether a column holds objects."""
    return bool(types.is_struct(kind) or types.is_map(kind))


def open_file(path: Path, columns: Columns, only: Sequence[str] | None = ()) -> pq.ParquetFile:
    """Open the file at `path`. Raises DataError if it is missing, not Parquet, lacks a column of `columns`, or has one
    of them or of `only` (None: any) twice."""
    try:
        file = pq.ParquetFile(path)
    except FileNotFoundError as error:
        raise DataError(f"{path} is missing", "correct the path") from error
    except (OSError, pa.ArrowException) as error:
        raise DataError(f"{path} cannot be read as Parquet: {_line(error)}", "replace it by a whole copy") from error
    schema = file.schema_arrow
    for name in columns:
        if name not in schema.names:
            raise DataError(f"{path} has no column {name!r}", near(name, tuple(schema.names)))
    for name in (*columns, *(schema.names if only is None else only)):
        if schema.names.count(name) > 1:
            raise DataError(f"{path} has the column {name!r} twice", "rename or remove one of them")
    for name, fits in columns.items():
        kind = schema.field(name).type
        plain = kind.value_type if types.is_dictionary(kind) else kind
        if not (types.is_null(plain) or fits(plain)):
            raise DataError(f"column {name!r} of {path} is of type {kind}", "take a file of the source's schema")
    return file


def read_rows(paths: Sequence[Path], columns: Columns, only: Sequence[str] | None = None) -> Iterator[tuple[str, Row]]:
    """Every row as ("FILE row N", row), N from 1 in each file.

    A value that cannot be read is the ValueError that says why; `hpt_core.rows.text_of` raises it where the value is
    used. `only` names the columns to read, if there are such columns. Raises DataError, if possible before the first
    row.
    """
    files = [open_file(path, columns, only) for path in paths]
    if not any(file.metadata.num_rows for file in files):
        raise no_rows(*paths)
    for path, file in zip(paths, files, strict=True):
        number = 0
        try:
            for batch in file.iter_batches(BATCH_ROWS, columns=only):
                for values in zip(*map(_values, batch.columns), strict=True):
                    number += 1
                    yield f"{path} row {number}", dict(zip(batch.schema.names, values, strict=True))
        except (OSError, pa.ArrowException) as error:
            raise DataError(
                f"{path} is damaged after row {number}: {_line(error)}", "replace it by a whole copy"
            ) from error


def count_rows(paths: Sequence[Path]) -> int:
    """Total rows, from the files' footers. Raises DataError."""
    return sum(open_file(path, {}).metadata.num_rows for path in paths)


def _values(column: pa.Array) -> list[Any]:
    """See `read_rows`."""
    if str(column.type) in _SHORT:
        return [None if value is None else _shortest(value, column.type) for value in column.to_pylist()]
    if not _has_short(column.type):
        try:
            return list(column.to_pylist(maps_as_pydicts="strict"))
        except _UNREADABLE:
            pass  # some value cannot be read
    return [_value(scalar) for scalar in column]


def _value(scalar: pa.Scalar) -> Any:
    """A value, part by part. Bytes that are not UTF-8 become surrogates, as in `hpt_core.rows.decode_parts`."""
    kind = scalar.type
    if not scalar.is_valid:
        return None
    if types.is_dictionary(kind):
        return _value(scalar.value)
    if types.is_struct(kind):
        return _object((field.name, _value(scalar[index])) for index, field in enumerate(kind))
    if types.is_map(kind):
        return _object((str(_value(entry[0])), _value(entry[1])) for entry in scalar.values)
    if _is_list(kind):
        return _values(scalar.values)
    if any(fits(kind) for fits in _STRINGS):
        return scalar.as_buffer().to_pybytes().decode("utf-8", "surrogateescape")
    try:
        found = scalar.as_py()
    except _UNREADABLE:
        return ValueError(f"is a {kind} where text is expected")
    return _shortest(found, kind) if str(kind) in _SHORT else found


def _is_list(kind: pa.DataType) -> bool:
    return any(fits(kind) for fits in _LISTS)


def _object(pairs: Iterable[tuple[str, Any]]) -> Row:
    found: Row = {}
    for name, value in pairs:
        found[name] = ValueError("is the name of two fields") if name in found else value
    return found


def _shortest(value: float, kind: pa.DataType) -> float:
    """A float of fewer than 64 bits as the shortest decimal that gives it: not 0.10000000149011612 but 0.1."""
    return float(str(_SHORT[str(kind)](value)))


def _has_short(kind: pa.DataType) -> bool:
    if types.is_dictionary(kind):
        return _has_short(kind.value_type)
    return str(kind) in _SHORT or any(_has_short(kind.field(index).type) for index in range(kind.num_fields))


def _line(error: Exception) -> str:
    return str(error).splitlines()[0][:200] if str(error) else type(error).__name__
