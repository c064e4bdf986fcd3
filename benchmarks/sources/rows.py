"""Reads rows of a data file, each with its file and row number."""

import csv
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from hpt_core.errors import DataError

Row = dict[str, Any]


def read_rows(path: Path) -> Iterator[tuple[str, Row]]:
    """Every row of a JSON list, JSON lines, CSV or Parquet file as ("FILE row N", row), N counted from 1.

    Raises DataError if the file cannot be read, has the wrong format, or a row is not an object.
    """
    readers = {".json": _json, ".jsonl": _jsonl, ".csv": _csv, ".parquet": _parquet}
    if path.suffix not in readers:
        raise DataError(f"{path} has an unknown format", f"use one of {', '.join(readers)}")
    try:
        for number, row in enumerate(readers[path.suffix](path), start=1):
            where = f"{path} row {number}"
            if not isinstance(row, dict):
                raise DataError(f"{where} is {_kind(row)} where an object is expected", "correct the row")
            yield where, row
    except OSError as error:
        raise DataError(
            f"cannot read {path}: {error.strerror or error}", "check the path and its permissions"
        ) from error
    except UnicodeDecodeError as error:
        raise DataError(f"{path} is not UTF-8 text: {error.reason}", "replace the file by a whole copy") from error


def text(row: Row, column: str) -> str:
    """The column's value as text, without surrounding white space (27.0 gives "27").

    Raises ValueError if it is missing, empty or neither text nor a number.
    """
    if column not in row:
        raise ValueError(f"has no field {column!r}; its fields are {', '.join(sorted(map(str, row)))}")
    value = row[column]
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        raise ValueError(f"field {column!r} is {_kind(value)} where text is expected")
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    if not (stripped := str(value).strip()):
        raise ValueError(f"field {column!r} is empty")
    return stripped


def texts(row: Row, column: str) -> list[str]:
    """The column's value as a list of texts. Raises ValueError if it is missing, empty or not a list of texts."""
    if column not in row:
        raise ValueError(f"has no field {column!r}; its fields are {', '.join(sorted(map(str, row)))}")
    values = row[column]
    if not isinstance(values, list) or not values:
        raise ValueError(f"field {column!r} is {_kind(values)} where a list of texts is expected")
    return [text({f"{column}[{i}]": value}, f"{column}[{i}]") for i, value in enumerate(values)]


def _kind(value: object) -> str:
    names = {dict: "an object", list: "a list", str: "text", bool: "a truth value", int: "a number", float: "a number"}
    return "nothing" if value is None else names.get(type(value), type(value).__name__)


def _json(path: Path) -> Iterator[object]:
    try:
        rows = json.loads(path.read_text(encoding="utf-8"))
    except json.JSONDecodeError as error:
        raise DataError(
            f"{path} is not JSON: line {error.lineno}: {error.msg}", "replace the file by a whole copy"
        ) from error
    if not isinstance(rows, list):
        raise DataError(f"{path} holds {_kind(rows)} where a list of rows is expected", "correct the file")
    yield from rows


def _jsonl(path: Path) -> Iterator[object]:
    with path.open(encoding="utf-8") as lines:
        for number, line in enumerate(lines, start=1):
            if line.strip():
                try:
                    yield json.loads(line)
                except json.JSONDecodeError as error:
                    raise DataError(f"{path} line {number} is not JSON: {error.msg}", "correct the line") from error


def _csv(path: Path) -> Iterator[object]:
    with path.open(encoding="utf-8-sig", newline="") as lines:
        try:
            yield from csv.DictReader(lines, strict=True)
        except csv.Error as error:
            raise DataError(f"{path} is not CSV: {error}", "replace the file by a whole copy") from error


def _parquet(path: Path) -> Iterator[object]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        table = pq.read_table(path)
    except pa.ArrowInvalid as error:
        raise DataError(f"{path} is not Parquet: {error}", "replace the file by a whole copy") from error
    for batch in table.to_batches():
        yield from batch.to_pylist()
