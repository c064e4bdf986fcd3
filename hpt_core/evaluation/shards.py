"""Sample shards on disk: their layout, and reading them."""

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
"""Columns that identify a sample within its unit."""


class Shard(NamedTuple):
    """Part `number` of a unit's samples: all samples of questions `start` to `stop` - 1."""

    number: int
    start: int
    stop: int

    @property
    def file_name(self) -> str:
        """Name of the shard's file. Names sort in the order of the questions."""
        return f"part-{self.number:05d}.parquet"


def plan(questions: int, k: int, shard_samples: int) -> list[Shard]:
    """Shards of a unit. Each holds whole questions and at least `shard_samples` samples, except the last."""
    size = math.ceil(shard_samples / k)
    return [Shard(i, start, min(start + size, questions)) for i, start in enumerate(range(0, questions, size))]


def read_questions(path: Path) -> pa.Table:
    """A benchmark's questions. Raises DataError if the file is missing, has another schema, or repeats an id."""
    table = _read(path, QUESTIONS, "evaluate the benchmark again")
    ids = table.column("question_id").to_pylist()
    if len(set(ids)) != len(ids):
        raise DataError(f"{path} has {len(ids) - len(set(ids))} repeated question ids", "correct the benchmark")
    return table


def read_samples(folder: Path) -> pa.Table:
    """All samples of a unit, in the order of the questions. Raises DataError if a shard is missing or damaged."""
    paths = sorted(folder.glob("part-*.parquet"))
    expected = [folder / Shard(i, 0, 0).file_name for i in range(len(paths))]
    if not paths or paths != expected:
        missing = next((p for p in expected if p not in paths), folder / Shard(0, 0, 0).file_name)
        raise DataError(f"{missing} is missing", REMEDY)
    return pa.concat_tables([_read(path, SAMPLES, REMEDY) for path in paths])


def read_present(output: Path, work: Path) -> pa.Table:
    """All existing samples of a unit, also of an unfinished one: those in shards, then those only in journals.

    Raises DataError if a shard is damaged.
    """
    rows: dict[tuple[str, int], journal.Row] = {}
    # Read journals first: they are removed once the shards exist. The first of two entries counts, as in shards.
    for entry in journal.read(work / "journal"):
        rows.setdefault((entry.row["question_id"], entry.row["sample_index"]), entry.row)
    paths = sorted((output / "samples").glob("part-*.parquet"))
    whole = pa.concat_tables([SAMPLES.empty_table(), *(_read(path, SAMPLES, REMEDY) for path in paths)])
    for key in zip(whole.column("question_id").to_pylist(), whole.column("sample_index").to_pylist(), strict=True):
        rows.pop(key, None)
    return pa.concat_tables([whole, pa.Table.from_pylist([rows[key] for key in sorted(rows)], schema=SAMPLES)])


def rows_in_shards(output: Path) -> int:
    """Number of a unit's samples in shards; 0 for a damaged shard."""
    count = 0
    for path in (output / "samples").glob("part-*.parquet"):
        with contextlib.suppress(OSError, pa.ArrowException):
            count += pq.read_metadata(path).num_rows
    return count


def is_whole(path: Path, keys: Sequence[tuple[str, int, int]]) -> bool:
    """Whether the shard at `path` is readable and holds exactly `keys`: (question_id, sample_index, seed) in order.

    Responses are not read: shards are written whole, and the manifest's hashes detect later damage.
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
    except OSError as error:  # pyarrow raises OSError or ArrowInvalid for damaged files
        raise DataError(f"cannot read {path}: {str(error).splitlines()[0]}", remedy) from error
    except pa.ArrowException as error:
        raise DataError(f"{path} is damaged: {str(error).splitlines()[0]}", remedy) from error
    if table.schema.names != schema.names or table.schema.types != schema.types:
        raise DataError(f"{path} has other columns than {', '.join(schema.names)}", remedy)
    return table
