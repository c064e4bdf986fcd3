"""Values of users' data files: JSON without loss, and the texts of fields.

A function raises ValueError with what is wrong ("is not JSON: ..."), so that the caller can add file and row.
"""

import json
import re
from collections import Counter
from collections.abc import Iterator
from decimal import Decimal, InvalidOperation
from pathlib import Path
from typing import Any

from hpt_core.errors import DataError, near

Row = dict[str, Any]
PLACES = 400
"""Zeros that a number is written out with. Numbers with more are written with an exponent."""
_ESCAPED = {chr(0xDC00 + byte) for byte in range(0x80, 0x100)}
"""What Python's "surrogateescape" makes of bytes that are not UTF-8."""
_SPACE = re.compile(r"[ \t\n\r]*")


def parse_json(text: str) -> Any:
    """A JSON value. Integers of any length and decimals keep all their digits. NaN and Infinity become floats."""
    value, end = _decode(text, _after_space(text, 0))
    if (end := _after_space(text, end)) < len(text):
        raise ValueError(f"is not JSON: Extra data at character {end}")
    return value


def parse_line(line: bytes) -> Any:
    """The JSON value in one line of a file."""
    return parse_json(decode(line).strip())


def json_items(text: str) -> Iterator[Any]:
    """The items of a JSON list, one by one. Raises at once if the text is something else."""
    start = _after_space(text, 0)
    if text[start : start + 1] != "[":
        raise ValueError(f"holds {name_of(parse_json(text))} where a list of rows is expected")
    return _items(text, start)


def _items(text: str, start: int) -> Iterator[Any]:
    at = _after_space(text, start + 1)
    more = text[at : at + 1] != "]"
    while more:
        item, end = _decode(text, at)
        yield item
        at = _after_space(text, end)
        more = text[at : at + 1] == ","
        if not more and text[at : at + 1] != "]":
            raise ValueError(f"is not JSON: line {_line(text, at)}: Expecting ',' delimiter")
        at = _after_space(text, at + 1) if more else at
    if (end := _after_space(text, at + 1)) < len(text):
        raise ValueError(f"is not JSON: line {_line(text, end)}: Extra data")


def decode(content: bytes) -> str:
    """UTF-8 text, with or without a byte order mark."""
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise ValueError(f"is not UTF-8 text: {error.reason}") from error


def decode_parts(content: bytes) -> str:
    """See `decode`, for the text of many rows. Bytes that are not UTF-8 become surrogates, which `text_of` refuses, so
    that the caller can name the row. Raises ValueError only if the text begins with such a byte, as UTF-16 does."""
    text = content.decode("utf-8-sig", "surrogateescape")
    if text[:1] in _ESCAPED:
        raise ValueError("is not UTF-8 text")
    return text


def no_rows(*paths: Path) -> DataError:
    """The error for files that are read but have no row."""
    return DataError(f"{', '.join(map(str, paths))}: there are no rows", "take a file with rows")


def field_of(row: Row, name: str) -> Any:
    """The field's value. A name that is missing gets near matches. See `text_of` for a value that cannot be read."""
    if name not in row:
        # Names with unpaired surrogates could not be written into a report.
        names = (field.encode("utf-8", "backslashreplace").decode() for field in map(str, row))
        raise ValueError(f"has no field {name!r}; {near(name, tuple(names))}")
    if isinstance(row[name], ValueError):
        raise ValueError(f"field {name!r} {row[name]}")
    return row[name]


def text_of(value: Any) -> str:
    """A field's value as text: text as it is, a number in decimal digits (27.0 gives "27"). Raises a value that is a
    ValueError, which stands for one that cannot be read."""
    if isinstance(value, ValueError):
        raise value
    if isinstance(value, bytes):
        value = decode(value)
    if isinstance(value, int | float | Decimal) and not isinstance(value, bool):
        return _digits(value)
    if not isinstance(value, str):
        raise ValueError(f"is {name_of(value)} where text is expected")
    try:
        value.encode()
    except UnicodeEncodeError as error:
        what = "bytes that are not UTF-8" if value[error.start] in _ESCAPED else "an unpaired surrogate"
        raise ValueError(f"contains {what} (character {error.start + 1})") from error
    return value


def answer_of(value: Any) -> str:
    """A gold answer as text. A list stands for its only answer.

    Several answers are refused: some data sets mean that each of them is right, others that all are required.
    """
    while isinstance(value, list):
        if len(value) != 1:
            raise ValueError(f"is a list of {len(value)} answers where one is expected")
        value = value[0]
    return text_of(value)


def name_of(value: object) -> str:
    """What a value is, in words: "a list"."""
    names: dict[type, str] = {dict: "an object", list: "a list", str: "text", bool: "a truth value", bytes: "bytes"}
    if isinstance(value, int | float | Decimal) and not isinstance(value, bool):
        return "a number"
    return "nothing" if value is None else names.get(type(value), f"a {type(value).__name__}")


def _decode(text: str, at: int) -> tuple[Any, int]:
    try:
        return _DECODER.raw_decode(text, at)
    except json.JSONDecodeError as error:
        line = f"line {error.lineno}: " if "\n" in text else ""
        raise ValueError(f"is not JSON: {line}{error.msg} at character {error.colno - 1}") from error
    except RecursionError as error:
        raise ValueError("is nested too deeply to be read") from error


def _integer(digits: str) -> int | Decimal:
    try:
        return int(digits)
    except ValueError:  # Python converts at most 4,300 digits
        return Decimal(digits)


def _real(digits: str) -> Decimal | float:
    try:
        return Decimal(digits)
    except InvalidOperation:  # an exponent of 19 digits
        return float(digits)


def _object(pairs: list[tuple[str, Any]]) -> Row:
    found = dict(pairs)
    if len(found) < len(pairs):
        ((name, _),) = Counter(name for name, _ in pairs).most_common(1)
        raise ValueError(f"has the field {name!r} twice")
    return found


_DECODER = json.JSONDecoder(parse_int=_integer, parse_float=_real, object_pairs_hook=_object)


def _digits(value: float | Decimal) -> str:
    if isinstance(value, int):
        return str(value)
    number = Decimal(float.__repr__(value)) if isinstance(value, float) else value
    if not number.is_finite():
        raise ValueError(f"is {number}, which is not a number")
    if abs(int(number.as_tuple().exponent)) > PLACES:
        return str(number)
    written = format(number or abs(number), "f")  # no -0
    return written.rstrip("0").rstrip(".") if "." in written else written


def _after_space(text: str, at: int) -> int:
    found = _SPACE.match(text, at)
    return found.end() if found else at


def _line(text: str, at: int) -> int:
    return text.count("\n", 0, at) + 1
