"""Questions in JSON lines: {question, answer, demonstration?, id?, kind?, family?} per line; other fields are
ignored."""

from collections.abc import Callable, Iterator
from functools import lru_cache
from itertools import chain
from pathlib import Path
from typing import Any

from hpt_core import verifiers
from hpt_core.data.sources._located import content_hash, find
from hpt_core.data.sources._rows import in_field, source_rows
from hpt_core.data.sources.base import MalformedRow, SourceConfig, SourceRow
from hpt_core.errors import ConfigError, DataError
from hpt_core.paths import UserPath
from hpt_core.rows import Row, answer_of, field_of, name_of, no_rows, parse_line, text_of


class JSONLines(SourceConfig):
    """A local file whose lines are objects with "question" and "answer"."""

    file: UserPath
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
                numbered = ((f"{path} row {number}", line) for number, line in enumerate(lines, start=1))
                filled = ((where, line) for where, line in numbered if line.strip())
                if (first := next(filled, None)) is None:
                    raise no_rows(path)
                yield from source_rows(chain((first,), filled), _row)
        except OSError as error:
            raise DataError(f"cannot read {path}: {error.strerror or error}", "check its permissions") from error


@lru_cache(maxsize=64)
def _kinds(source: JSONLines, data_dir: Path | None, path: Path, modified: int) -> tuple[str, ...]:
    return tuple(sorted({row.kind for row in source.read(data_dir) if isinstance(row, SourceRow)}))


def _row(where: str, line: bytes) -> SourceRow:
    row = parse_line(line)
    if not isinstance(row, dict):
        raise ValueError(f"is {name_of(row)} where an object is expected")
    return SourceRow(
        where=where,
        question_id=_text(row, "id"),
        question=_required(row, "question"),
        gold=_required(row, "answer", answer_of),
        kind=_kind(row),
        demonstration=_text(row, "demonstration") or None,
        family=_text(row, "family"),
    )


def _text(row: Row, name: str, read: Callable[[Any], str] = text_of) -> str:
    """The field as text; "" if it is missing or null."""
    value = row.get(name)
    return "" if value is None else in_field(name, read, value)


def _required(row: Row, name: str, read: Callable[[Any], str] = text_of) -> str:
    field_of(row, name)
    text = _text(row, name, read)
    if not text.strip():
        raise ValueError(f"{name} is empty")
    return text


def _kind(row: Row) -> str:
    kind = _text(row, "kind") or "math"
    try:
        verifiers.get(kind)
    except ConfigError as error:
        raise ValueError(f"kind: {error.cause}; {error.remedy}") from error
    return kind
