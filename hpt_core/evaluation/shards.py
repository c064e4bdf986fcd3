"""Samples on disk: which shard holds which samples, and reading them back."""

import contextlib
import math
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import pyarrow as pa
import pyarrow.parquet as pq

from hpt_core.errors import DataError
from hpt_core.evaluation import journal
from hpt_core.schemas import QUESTIONS, SAMPLES

REMEDY = "sample the benchmark again"
KEY = ("question_id", "sample_index", "seed")
"""Columns that tell a unit's samples apart."""


class Shard(NamedTuple):
    """Part `number` of a unit's samples: every sample of the questions `start` to `stop`, end left out."""

    number: int
    start: int
    stop: int

    @property
    def file_name(self) -> str:
        """Name of the shard's file; names sort in the questions' order."""
        return f"part-{self.number:05d}.parquet"


def plan(questions: int, k: int, shard_samples: int) -> list[Shard]:
    """Shards of a unit: whole questions, at least `shard_samples` samples each but the last."""
    size = math.ceil(shard_samples / k)
    return [Shard(i, start, min(start + size, questions)) for i, start in enumerate(range(0, questions, size))]


def read_questions(path: Path) -> pa.Table:
    """A benchmark's questions. Raises DataError where the file is missing, of another schema, or has an id twice."""
    table = _read(path, QUESTIONS, "evaluate the benchmark again")
    ids = table.column("question_id").to_pylist()
    if len(set(ids)) != len(ids):
        raise DataError(f"{path} has {len(ids) - len(set(ids))} repeated question ids", "correct the benchmark")
    return table


def read_samples(folder: Path) -> pa.Table:
    """All samples of a unit, in the questions' order. Raises DataError where a shard is missing or damaged."""
    paths = sorted(folder.glob("part-*.parquet"))
    expected = [folder / Shard(i, 0, 0).file_name for i in range(len(paths))]
    if not paths or paths != expected:
        missing = next((p for p in expected if p not in paths), folder / Shard(0, 0, 0).file_name)
        raise DataError(f"{missing} is missing", REMEDY)
    return pa.concat_tables([_read(path, SAMPLES, REMEDY) for path in paths])


def read_present(output: Path, work: Path) -> pa.Table:
    """The samples of a unit that are there so far, finished or not: those in shards, then those in journals alone.

    Raises DataError where a shard is damaged.
    """
    rows: dict[tuple[str, int], journal.Row] = {}
    # Journals first: they go once the shards are there. Of two entries the first counts, as it does for shards.
    for entry in journal.read(work / "journal"):
        rows.setdefault((entry.row["question_id"], entry.row["sample_index"]), entry.row)
    paths = sorted((output / "samples").glob("part-*.parquet"))
    whole = pa.concat_tables([SAMPLES.empty_table(), *(_read(path, SAMPLES, REMEDY) for path in paths)])
    for key in zip(whole.column("question_id").to_pylist(), whole.column("sample_index").to_pylist(), strict=True):
        rows.pop(key, None)
    return pa.concat_tables([whole, pa.Table.from_pylist([rows[key] for key in sorted(rows)], schema=SAMPLES)])


def rows_in_shards(output: Path) -> int:
    """Samples of a unit that stand in shards; a damaged one holds none."""
    count = 0
    for path in (output / "samples").glob("part-*.parquet"):
        with contextlib.suppress(OSError, pa.ArrowException):
            count += pq.read_metadata(path).num_rows
    return count


def is_whole(path: Path, keys: Sequence[tuple[str, int, int]]) -> bool:
    """Whether the shard at `path` can be read and holds exactly `keys`: (question_id, sample_index, seed) in order.

    Responses are not read; shards appear whole, and the manifest says whether they still are.
    """
    try:
        if pq.read_schema(path).names != SAMPLES.names:
            return False
        table = pq.read_table(path, columns=list(KEY))
    except (OSError, pa.ArrowException):
        return False
    return list(zip(*(table.column(name).to_pylist() for name in KEY), strict=True)) == list(keys)


def _read(path: Path, schema: pa.Schema, remedy: str) -> pa.Table:
    try:
        table: pa.Table = pq.read_table(path)
    except OSError as error:  # pyarrow's own errors of damaged files are OSError or ArrowInvalid
        raise DataError(f"cannot read {path}: {str(error).splitlines()[0]}", remedy) from error
    except pa.ArrowException as error:
        raise DataError(f"{path} is damaged: {str(error).splitlines()[0]}", remedy) from error
    if table.schema.names != schema.names or table.schema.types != schema.types:
        raise DataError(f"{path} has other columns than {', '.join(schema.names)}", remedy)
    return table
