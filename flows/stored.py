"""Stored samples one by one: what to show is chosen by the verdicts, and only its responses are read."""

from bisect import bisect_right
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from itertools import accumulate
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from flows.results import Results
from hpt_core.errors import ConfigError, DataError
from hpt_core.evaluation.metrics import solves
from hpt_core.verifiers.base import Outcome

Row = dict[str, Any]


@dataclass(frozen=True)
class Key:
    """One sample, without its response."""

    place: int
    """Place among the unit's samples."""
    question_id: str
    sample_index: int
    outcome: str | None
    """None if it is not graded yet."""


class Unit:
    """The samples of one model on one benchmark."""

    def __init__(self, model: str, benchmark: str, results: Results) -> None:
        self.model = model
        self.benchmark = benchmark
        self._results = results

    @cached_property
    def keys(self) -> Sequence[Key]:
        """All samples, in their order."""
        graded = self._graded
        source = self._joined if graded is None else graded
        columns = (source.column(name).to_pylist() for name in ("question_id", "sample_index", "outcome"))
        return [Key(place, *values) for place, values in enumerate(zip(*columns, strict=True))]

    @cached_property
    def by_question(self) -> dict[str, list[Key]]:
        """Question id -> its samples."""
        found: dict[str, list[Key]] = {}
        for key in self.keys:
            found.setdefault(key.question_id, []).append(key)
        return found

    def solved(self) -> set[str]:
        """Ids of the questions that the model solves. Raises ConfigError if not all samples are graded."""
        if any(key.outcome is None for key in self.keys):
            raise ConfigError(
                f"{self.model} is not graded yet on {self.benchmark}", "wait for the evaluation, or name the benchmark"
            )
        return {
            question_id
            for question_id, keys in self.by_question.items()
            if solves(sum(key.outcome == Outcome.CORRECT for key in keys), len(keys))
        }

    def row(self, key: Key) -> Row:
        """A sample with its question, gold answer and verdict. Reads the file with its response."""
        if self._graded is None:
            found: Row = self._joined.slice(key.place, 1).to_pylist()[0]
            return found
        shard = bisect_right(self._starts, key.place) - 1
        (sample,) = _shard(self._shards[shard]).slice(key.place - self._starts[shard], 1).to_pylist()
        if (sample["question_id"], sample["sample_index"]) != (key.question_id, key.sample_index):
            raise DataError(f"samples and verdicts of {self.model} on {self.benchmark} differ", "grade it again")
        (verdict,) = self._graded.slice(key.place, 1).to_pylist()
        graded = {name: verdict[name] for name in ("outcome", "extracted")}
        return {"model": self.model, **sample, **self._questions[key.question_id], **graded}

    @cached_property
    def _joined(self) -> pa.Table:
        """All samples, for an evaluation in progress."""
        return self._results.unit(self.model, self.benchmark).joined()

    @cached_property
    def _graded(self) -> pa.Table | None:
        """The verdicts; None while the evaluation is in progress."""
        return self._results.verdicts(self.model, self.benchmark)

    @cached_property
    def _shards(self) -> list[Path]:
        return self._results.shards(self.model, self.benchmark)

    @cached_property
    def _starts(self) -> list[int]:
        """Place of each shard's first sample."""
        return list(accumulate((pq.read_metadata(path).num_rows for path in self._shards[:-1]), initial=0))

    @cached_property
    def _questions(self) -> dict[str, Row]:
        rows = self._results.questions(self.benchmark).select(["question_id", "question", "gold", "kind"]).to_pylist()
        return {row["question_id"]: row for row in rows}


@lru_cache(2)
def _shard(path: Path) -> pa.Table:
    try:
        return pq.ParquetFile(path).read()
    except (OSError, pa.ArrowException) as error:
        raise DataError(f"cannot read {path}: {str(error).splitlines()[0]}", "sample the benchmark again") from error


def units(results: Results, model: str | None = None, benchmark: str | None = None) -> list[Unit]:
    """The units with samples, by model and benchmark. Raises ConfigError and StoreError as `Results.samples` does."""
    return [Unit(name, part, results) for name, part in results.sampled(model, benchmark)]


Chosen = tuple[Unit, Key]
Wanted = Callable[[Unit, Key], bool]


def choose(found: Sequence[Unit], wanted: Wanted) -> Iterator[Chosen]:
    """The samples that `wanted` accepts, unit by unit."""
    return ((unit, key) for unit in found for key in unit.keys if wanted(unit, key))


def side_by_side(ours: Sequence[Unit], theirs: Sequence[Unit], wanted: Wanted) -> Iterator[Chosen]:
    """The same of two models: on each question that has such a sample of the first, its samples and the other's."""
    others = {unit.benchmark: unit for unit in theirs}
    for unit in ours:
        other = others.get(unit.benchmark)
        for question_id, keys in unit.by_question.items():
            chosen = [key for key in keys if wanted(unit, key)]
            if chosen and other is not None and question_id in other.by_question:
                yield from ((unit, key) for key in chosen)
                yield from ((other, key) for key in other.by_question[question_id])


def solved_by_one(ours: Sequence[Unit], theirs: Sequence[Unit]) -> dict[str, list[str]]:
    """Benchmark -> ids of the questions that both answered, and that the first solves and the second does not."""
    others = {unit.benchmark: unit for unit in theirs}
    found = {}
    for unit in ours:
        if other := others.get(unit.benchmark):
            alone = (unit.solved() & other.by_question.keys()) - other.solved()
            found[unit.benchmark] = [question_id for question_id in unit.by_question if question_id in alone]
    return found
