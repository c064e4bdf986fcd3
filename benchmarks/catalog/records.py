"""The records of a catalog: what one finished artifact, or one run, adds to the tables."""

import contextlib
import json
import logging
import os
from collections.abc import Iterable
from datetime import datetime
from pathlib import Path
from typing import NamedTuple
from urllib.parse import quote

import pyarrow as pa
import pyarrow.parquet as pq

from benchmarks.catalog import schemas
from benchmarks.catalog.migrations import Rows, migrated, migrated_questions
from hpt_core.errors import StoreError
from hpt_core.files import replacing

LOG = logging.getLogger("hpt.catalog")
FOLDER = "catalog"
QUESTIONS = "question_scores"


class QuestionScores(NamedTuple):
    """The correct samples of each question of one score."""

    benchmark: str
    model: str
    """Content hash."""
    table: pa.Table
    """Schema QUESTION_SCORES."""


class Contribution(NamedTuple):
    """What an artifact adds to the catalog."""

    rows: Rows
    """By table."""
    questions: QuestionScores | None = None
    """Of the score in `rows`, if there is one."""


class Records:
    """The records of one store. Several processes may add some at the same time."""

    def __init__(self, root: Path) -> None:
        self.folder = root / FOLDER
        self._records = self.folder / "records"

    def names(self) -> set[str]:
        """Names of all records."""
        return {entry.name[:-5] for entry in self._entries()}

    def times(self) -> dict[str, float]:
        """Name of each record -> when it was written, in seconds."""
        found = {}
        for entry in self._entries():
            with contextlib.suppress(FileNotFoundError):  # removed meanwhile
                found[entry.name[:-5]] = entry.stat().st_mtime
        return found

    def _entries(self) -> "list[os.DirEntry[str]]":
        try:
            with os.scandir(self._records) as entries:
                return [entry for entry in entries if entry.name.endswith(".json")]
        except FileNotFoundError:
            return []

    def has(self, name: str) -> bool:
        """Whether there is a record of this name."""
        return self._path(name).exists()

    def confirm(self, name: str) -> None:
        """Note that a record is younger than what it was made from, as after a store was copied."""
        os.utime(self._path(name))

    def add(self, name: str, rows: Rows, questions: QuestionScores | None = None, durable: bool = True) -> None:
        """Write a record, and the questions of its score before it, so that the record never refers to what is missing.

        Both appear whole or not at all. With `durable` they are flushed to the disk; what can be made again from the
        store's artifacts need not be. Raises OSError.
        """
        if questions is not None:
            with replacing(self.questions_path(questions.benchmark, questions.model, name), durable) as beside:
                pq.write_table(questions.table.cast(schemas.QUESTION_SCORES), beside, compression="zstd")
        text = json.dumps({"version": schemas.VERSION, "rows": rows}, allow_nan=False, default=_text)
        with replacing(self._path(name), durable) as beside:
            beside.write_text(text, encoding="utf-8")

    def read(self, names: Iterable[str]) -> dict[str, Rows]:
        """The rows of these records. One that cannot be read is left out and removed, so that it is made again.

        Raises StoreError for a record of a later release, or a file that exists and cannot be opened.
        """
        found = {}
        for name in names:
            path = self._path(name)
            try:
                content = json.loads(path.read_bytes())
                version, rows = int(content["version"]), content["rows"]
            except FileNotFoundError:
                continue
            except OSError as error:
                raise StoreError(f"cannot read {path}: {error.strerror or error}", "check its permissions") from error
            except (ValueError, LookupError, TypeError):
                LOG.warning("%s is damaged; it is made again if the store still has what it describes", path)
                path.unlink(missing_ok=True)
                continue
            found[name] = migrated(rows, version, path)
        return found

    def questions_path(self, benchmark: str, model: str, name: str) -> Path:
        """The file with the questions of a score."""
        folder = f"benchmark={quote(benchmark, safe='')}/model={quote(model, safe='')}"
        return self.folder / QUESTIONS / folder / f"{name}.parquet"

    def questions(self, benchmark: str, model: str, name: str) -> pa.Table:
        """The questions of a score (schema QUESTION_SCORES), ordered by id. Raises StoreError."""
        path = self.questions_path(benchmark, model, name)
        try:
            # ParquetFile, because read_table would add the columns in the folders' names.
            table = pq.ParquetFile(path).read()
        except (OSError, pa.ArrowException) as error:
            raise StoreError(
                f"cannot read {path}: {str(error).splitlines()[0]}", "remove its record and run `hpt catalog`"
            ) from error
        return migrated_questions(table, path)

    def _path(self, name: str) -> Path:
        return self._records / f"{name}.json"


def record_name(fingerprint: str, end: datetime) -> str:
    """Name of an artifact's record. An artifact that was produced again has a second one."""
    return f"{fingerprint}-{end:%Y%m%dT%H%M%S%f}"


def _text(value: object) -> str:
    if isinstance(value, datetime):
        return value.isoformat()
    raise TypeError(f"{type(value).__name__} has no place in a record")
