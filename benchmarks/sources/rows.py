"""Reads rows of a data file, each with its file and row number."""

import csv
import io
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from hpt_core import parquet
from hpt_core.errors import DataError
from hpt_core.rows import Row as Row
from hpt_core.rows import answer_of, decode_parts, field_of, json_items, name_of, no_rows, parse_json, text_of


def read_rows(path: Path) -> Iterator[tuple[str, Row]]:
    """Every row of a JSON list, JSON lines, CSV or Parquet file as ("FILE row N", row), N counted from 1.

    Raises DataError if the file cannot be read, has the wrong format, or a row cannot be read or is not an object.
    """
    rows: Iterator[tuple[str, Any]]
    if path.suffix == ".parquet":
        rows = parquet.read_rows([path], {})
    elif path.suffix in READERS:
        rows = _numbered(path, READERS[path.suffix])
    else:
        raise DataError(f"{path} has an unknown format", f"use one of {', '.join((*READERS, '.parquet'))}")
    for where, row in rows:
        if not isinstance(row, dict):
            problem = row if isinstance(row, ValueError) else f"is {name_of(row)} where an object is expected"
            raise DataError(f"{where} {problem}", "correct the row, or replace the file by a whole copy")
        yield where, row


def text(row: Row, column: str) -> str:
    """The column's value as text, without surrounding white space (27.0 gives "27").

    Raises ValueError if it is missing, empty or neither text nor a number.
    """
    return _field(row, column, text_of)


def optional(row: Row, column: str) -> str:
    """See `text`; "" if it is missing or empty."""
    return "" if row.get(column) in (None, "") else text(row, column)


def gold(row: Row, column: str) -> str:
    """A gold answer as text, without surrounding white space. A list stands for its only answer. See `text`."""
    return _field(row, column, answer_of)


def texts(row: Row, column: str) -> list[str]:
    """The column's value as a list of texts. Raises ValueError if it is missing, empty or not a list of texts."""
    values = field_of(row, column)
    if not isinstance(values, list) or not values:
        raise ValueError(f"field {column!r} is {name_of(values)} where a list of texts is expected")
    return [text({f"{column}[{i}]": value}, f"{column}[{i}]") for i, value in enumerate(values)]


def _field(row: Row, column: str, read: Callable[[Any], str]) -> str:
    value = field_of(row, column)
    try:
        stripped = read(value).strip()
    except ValueError as error:
        raise ValueError(f"field {column!r} {error}") from error
    if not stripped:
        raise ValueError(f"field {column!r} is empty")
    return stripped


def _numbered(path: Path, reader: Callable[[str], Iterator[Any]]) -> Iterator[tuple[str, Any]]:
    """("FILE row N", row); at the first row that cannot be read, the error instead of the row."""
    try:
        rows = reader(decode_parts(path.read_bytes()))
    except OSError as error:
        raise DataError(
            f"cannot read {path}: {error.strerror or error}", "check the path and its permissions"
        ) from error
    except (ValueError, csv.Error) as error:
        raise DataError(f"{path} {error}", "replace the file by a whole copy") from error
    number = 0
    try:
        for number, row in enumerate(rows, start=1):
            yield f"{path} row {number}", row
    except ValueError as error:
        yield f"{path} row {number + 1}", error
    except csv.Error as error:
        yield f"{path} row {number + 1}", ValueError(f"is not CSV: {error}")
    else:
        if not number:
            raise no_rows(path)


def _jsonl(content: str) -> Iterator[object]:
    return (parse_json(line) for line in content.split("\n") if line.strip())


def _csv(content: str) -> Iterator[object]:
    csv.field_size_limit(sys.maxsize)  # by default, Python refuses fields of more than 128 KiB
    lines = csv.DictReader(io.StringIO(content, newline=""), strict=True)
    names = lines.fieldnames or ()
    if len(set(names)) < len(names):
        raise ValueError("has two columns with the same name")
    return (_whole(row) for row in lines)


def _whole(row: Row) -> Row:
    if None in row:
        raise ValueError("has more fields than there are columns; quote a field that contains a comma")
    return row


READERS: dict[str, Callable[[str], Iterator[Any]]] = {".json": json_items, ".jsonl": _jsonl, ".csv": _csv}
"""Suffix of a text file -> its reader, which raises ValueError or csv.Error at a row that it cannot read."""
