"""Grade a JSON-lines file of responses: the implementation of `hpt grade FILE.jsonl --out FILE.parquet`."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa

from hpt_core.errors import ConfigError, DataError, StoreError
from hpt_core.files import write_parquet
from hpt_core.rows import answer_of, field_of, name_of, parse_line, text_of
from hpt_core.verifiers import get
from hpt_core.verifiers.base import Outcome
from hpt_core.verifiers.pool import Item, VerifierPool

FIELDS = ("id", "gold", "response", "kind")
"""Required fields of every row. `question`, which contains the options of a choice, is optional."""
GRADED = pa.schema(
    [pa.field(name, pa.string(), nullable=False) for name in ("id", "kind", "outcome")]
    + [pa.field("extracted", pa.string()), pa.field("gold", pa.string(), nullable=False)]
)
"""One row per response, in the file's order. `extracted` is null if no answer was found."""
BATCH = 4096
"""Responses verified at once."""

Row = dict[str, str]


def grade_file(
    source: Path,
    target: Path,
    workers: int = 2,
    timeout_s: float = 5.0,
    progress: Callable[[int, int, str], None] | None = None,
) -> dict[str, int]:
    """Verify every row of `source` ({"id", "gold", "response", "kind"[, "question"]}) and write GRADED to `target`.

    Returns the number of rows for every outcome. `target` is written whole or not at all. Before verification, raises
    DataError with file and line of a malformed row, and ConfigError if `target` is `source` itself. Raises
    StoreError if `target` cannot be written.
    """
    rows = read_rows(source)
    if target.exists() and target.samefile(source):
        raise ConfigError(f"{target} is the input file and would be overwritten", "give another path")
    verdicts = []
    with VerifierPool(workers, timeout_s) as pool:
        for start in range(0, len(rows), BATCH):
            batch = rows[start : start + BATCH]
            verdicts += pool.verify([Item(row["kind"], row["gold"], row["response"], row["question"]) for row in batch])
            if progress is not None:
                progress(len(verdicts), len(rows), f"{sum(v.outcome is Outcome.CORRECT for v in verdicts)} correct")
    graded = [
        {**{name: row[name] for name in ("id", "kind", "gold")}, "outcome": v.outcome.value, "extracted": v.extracted}
        for row, v in zip(rows, verdicts, strict=True)
    ]
    try:
        write_parquet(target, pa.Table.from_pylist(graded, schema=GRADED))
    except OSError as error:
        raise StoreError(f"cannot write {target}: {error.strerror}", "give a writable path") from error
    return {outcome.value: sum(v.outcome is outcome for v in verdicts) for outcome in Outcome}


def read_rows(source: Path) -> list[Row]:
    """All rows of `source`; blank lines are skipped. Raises DataError with file and line if a row is malformed or
    repeats an id, DataError if there is no row, and ConfigError if the file cannot be read."""
    rows: dict[str, tuple[int, Row]] = {}
    try:
        with source.open("rb") as lines:
            for n, line in enumerate(lines, start=1):
                if not line.strip():
                    continue
                row = _row(line, f"{source}, line {n}")
                first, _ = rows.setdefault(row["id"], (n, row))
                if first != n:
                    raise DataError(
                        f"{source}, line {n}: the id {row['id']!r} is also the id of line {first}",
                        "give every row its own id",
                    )
    except OSError as error:
        raise ConfigError(f"cannot read {source}: {error.strerror}", "give the path of a JSON-lines file") from error
    if not rows:
        raise DataError(f"{source} holds no row", f"each line is a JSON object with {', '.join(FIELDS)}")
    return [row for _, row in rows.values()]


def _row(line: bytes, where: str) -> Row:
    try:
        value = parse_line(line)
        if not isinstance(value, dict):
            raise ValueError(f"is {name_of(value)} where an object is expected")
        row = {field: _field({"question": "", **value}, field) for field in (*FIELDS, "question")}
    except ValueError as error:
        raise DataError(f"{where} {error}", f"each line is a JSON object with {', '.join(FIELDS)}") from error
    try:
        get(row["kind"])
    except ConfigError as error:
        raise DataError(f"{where}: {error.cause}", error.remedy) from error
    return row


def _field(row: dict[str, Any], name: str) -> str:
    """A field as text. An id and a gold answer may be numbers."""
    value = field_of(row, name)
    try:
        if name not in ("id", "gold") and not isinstance(value, str):
            raise ValueError(f"is {name_of(value)} where text is expected")
        return answer_of(value) if name == "gold" else text_of(value)
    except ValueError as error:
        raise ValueError(f"field {name!r} {error}") from error
