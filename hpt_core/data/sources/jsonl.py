"""Questions in JSON lines: {question, answer, demonstration?, id?, kind?, family?} per line; other fields are
ignored."""

import json
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path
from typing import Any

from hpt_core import verifiers
from hpt_core.data.sources._located import content_hash, find
from hpt_core.data.sources.base import MalformedRow, SourceConfig, SourceRow
from hpt_core.errors import ConfigError, DataError


class JSONLines(SourceConfig):
    """A local file whose lines are objects with "question" and "answer"."""

    file: Path
    """The file: looked up in data_dir/train, then as given."""

    def needs(self, data_dir: Path | None) -> str:
        """The file, if it is missing."""
        try:
            find(self.file, data_dir)
        except DataError:
            return f"a file {self.file}"
        return ""

    def content(self, data_dir: Path | None) -> dict[str, object]:
        """The file's content hash. Raises DataError if it is missing."""
        return {"name": self.name, "sha256": content_hash(find(self.file, data_dir))}

    def kinds(self, data_dir: Path | None) -> tuple[str, ...]:
        """The verifiers that the rows name. Raises DataError if the file is missing."""
        path = find(self.file, data_dir)
        return _kinds(self, data_dir, path, path.stat().st_mtime_ns)

    def read(self, data_dir: Path | None) -> Iterator[SourceRow | MalformedRow]:
        """Every non-empty line. Raises DataError if the file is missing or cannot be read."""
        path = find(self.file, data_dir)
        try:
            with path.open("rb") as lines:
                for number, line in enumerate(lines, start=1):
                    if line.strip():
                        yield _row(f"{path} row {number}", line)
        except OSError as error:
            raise DataError(f"cannot read {path}: {error.strerror or error}", "check its permissions") from error


@lru_cache(maxsize=64)
def _kinds(source: JSONLines, data_dir: Path | None, path: Path, modified: int) -> tuple[str, ...]:
    return tuple(sorted({row.kind for row in source.read(data_dir) if isinstance(row, SourceRow)}))


def _row(where: str, line: bytes) -> SourceRow | MalformedRow:
    try:
        row = json.loads(line.decode("utf-8-sig").strip())
    except UnicodeDecodeError as error:
        return MalformedRow(where, f"not UTF-8: {error.reason}")
    except json.JSONDecodeError as error:
        return MalformedRow(where, f"not JSON: {error.msg} at character {error.pos}")
    if not isinstance(row, dict):
        return MalformedRow(where, "not an object")
    try:
        return SourceRow(
            where=where,
            question_id=_text(row, "id"),
            question=_required(row, "question"),
            gold=_required(row, "answer"),
            kind=_kind(row),
            demonstration=_text(row, "demonstration") or None,
            family=_text(row, "family"),
        )
    except ValueError as error:
        return MalformedRow(where, str(error))


def _text(row: dict[str, Any], name: str) -> str:
    """The field as text; numbers are converted with str(). "" if it is missing or null."""
    value = row.get(name)
    if value is None:
        return ""
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        raise ValueError(f"{name} is no text")
    return str(value)


def _required(row: dict[str, Any], name: str) -> str:
    text = _text(row, name)
    if not text.strip():
        raise ValueError(f"{name} is missing or empty")
    return text


def _kind(row: dict[str, Any]) -> str:
    kind = _text(row, "kind") or "math"
    try:
        verifiers.get(kind)
    except ConfigError as error:
        raise ValueError(f"kind: {error.cause}; {error.remedy}") from error
    return kind
