"""`python -m hpt_core.data.contamination SPEC.json`: how much of each benchmark question stands in training data.

The benchmarks' runs of words are held, the data stream past them: memory hardly grows with the data. Words are those
of decontamination (hpt_core/data/decontaminate.py). A question of fewer words than an n-gram is looked for as a run of
its own length; only one of very few words is compared as a whole, since any text may hold these.
"""

import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq
from pydantic import Field

from hpt_core import schemas, worker
from hpt_core.base import Frozen
from hpt_core.data.decontaminate import split_ngrams, whole, words
from hpt_core.errors import DataError
from hpt_core.files import write_parquet

logger = logging.getLogger("hpt.data")

VERSION = 3
"""Raised when the same texts would give another overlap."""
SHORTEST = 6
"""Words of the shortest question that is looked for inside of texts; with fewer it must be the same as a whole."""
ROWS = 256
"""Rows that are read together."""
_COMMON = 8
"""Questions that hold a gram from which on it is a common one."""
_SIEVE_BITS = 24
"""16 MiB. 12,032 questions of 60 to 300 words (MMLU-Pro has as many) set 11 % of it, and as many runs of words are
looked up for nothing; of 4 MiB they set 38 %, and a text takes twice as long."""
_BASE = np.uint64(0x9E3779B97F4A7C15)


class ContaminationUnit(Frozen):
    """One benchmark against the training data."""

    benchmark: str
    questions: Path
    """questions.parquet."""
    output: Path
    """contamination.parquet to write."""


class ContaminationSpec(Frozen):
    """Spec of `python -m hpt_core.data.contamination`: one pass over the data for every benchmark that is missing."""

    data: Path
    """prepared.parquet."""
    ngram: int = Field(ge=1)
    """Words of an n-gram."""
    units: tuple[ContaminationUnit, ...]


class Matcher:
    """Benchmark questions by their grams, to hold texts against.

    A gram is a run of words: of `n`, or of a shorter question's length. That of a question of fewer than SHORTEST words
    stands for the question as a whole, with its operators, and no run of words is equal to it.
    """

    def __init__(self, n: int) -> None:
        self._n = n
        self._grams: list[frozenset[str]] = []
        self._ngrams: list[int] = []
        self._holders: dict[str, list[int]] = {}
        self._lengths: set[int] = set()
        self._word_ids: dict[str, int] = {}
        self._sieve = np.zeros(1 << _SIEVE_BITS, dtype=bool)

    def add(self, question: str) -> int:
        """Take in a benchmark question; returns its number."""
        number = len(self._grams)
        found = words(question)
        length = min(self._n, len(found)) if len(found) >= min(self._n, SHORTEST) else 0
        grams = frozenset(split_ngrams(found, length) if length else _as_whole(question))
        self._grams.append(grams)
        self._ngrams.append(len(grams) if length else 0)
        for gram in grams:
            self._holders.setdefault(gram, []).append(number)
        if length:
            self._lengths.add(length)
            ids = [self._word_ids.setdefault(word, len(self._word_ids) + 1) for word in found]
            for at, places in self._places(ids):
                if at == length:
                    self._sieve[places] = True
        return number

    def __len__(self) -> int:
        """Questions."""
        return len(self._grams)

    def ngrams(self, number: int) -> int:
        """Different runs of words of a question; 0 where it is compared as a whole."""
        return self._ngrams[number]

    def grams(self, number: int) -> frozenset[str]:
        """Grams of a question."""
        return self._grams[number]

    def holders(self, gram: str) -> list[int]:
        """Numbers of the questions that hold a gram."""
        return self._holders[gram]

    def find(self, text: str) -> frozenset[str]:
        """The grams of the questions that `text` holds."""
        found = words(text)
        known = self._word_ids
        runs: set[str] = set(_as_whole(text))
        for length, places in self._places([known.get(word, 0) for word in found]):
            # Where a gram may begin: all places where one does, and by chance a few others.
            starts = np.flatnonzero(self._sieve[places]).tolist()
            runs.update(" ".join(found[start : start + length]) for start in starts)
        return frozenset(runs & self._holders.keys())

    def _places(self, ids: list[int]) -> Iterator[tuple[int, npt.NDArray[np.int64]]]:
        """(length, [len(ids) - length + 1] places in the sieve of every run of so many word ids), for each length."""
        values = np.array(ids, dtype=np.uint64) * _BASE
        total = np.zeros(len(ids), dtype=np.uint64)
        for length in range(1, min(self._n, len(ids)) + 1):
            # What the shorter runs came to, and the word behind each of them.
            total = (total[: len(ids) - length + 1] ^ values[length - 1 :]) * _BASE
            total ^= total >> np.uint64(29)
            if length in self._lengths:
                yield length, (total >> np.uint64(64 - _SIEVE_BITS)).astype(np.int64)


def _as_whole(text: str) -> tuple[str, ...]:
    """A text as a gram that no run of words is equal to; none where it has no words."""
    found = whole(text)
    return (f"= {found}",) if found else ()


class Shared:
    """What one benchmark question shares with texts of one kind."""

    __slots__ = ("grams", "match", "most")

    def __init__(self) -> None:
        self.grams: set[str] = set()
        """Grams of the question that stand in some text."""
        self.match: str | None = None
        """The text that holds most of them, the first of equals."""
        self.most = 0


class OverlapTally:
    """What the questions share with texts of one kind: with training questions, or with demonstrations."""

    def __init__(self, matcher: Matcher) -> None:
        self._matcher = matcher
        self.shared = [Shared() for _ in range(len(matcher))]
        self._seen: set[frozenset[str]] = set()

    def take(self, text: str, text_id: str) -> None:
        """Note what one text shares with the questions."""
        grams = self._matcher.find(text)
        if not grams:
            return
        holders = self._matcher.holders
        common = frozenset(gram for gram in grams if len(holders(gram)) >= _COMMON)
        questions = {number for gram in grams - common for number in holders(gram)}
        # Of a preamble that many questions hold, a second text that shares nothing else with them changes nothing.
        if common and common not in self._seen:
            self._seen.add(common)
            questions.update(number for gram in common for number in holders(gram))
        for number in questions:
            shared, found = self.shared[number], self._matcher.grams(number) & grams
            shared.grams |= found
            if len(found) > shared.most:
                shared.match, shared.most = text_id, len(found)


def run(spec: ContaminationSpec) -> None:
    """Write each unit's contamination.parquet, whole or not at all. Raises DataError."""
    matcher = Matcher(spec.ngram)
    numbers = [
        [(q, matcher.add(text)) for q, text in _questions(unit.benchmark, unit.questions)] for unit in spec.units
    ]
    questions, demonstrations = OverlapTally(matcher), OverlapTally(matcher)
    _stream(spec, questions, demonstrations)
    for unit, asked in zip(spec.units, numbers, strict=True):
        rows = [_row(q, matcher.ngrams(n), questions.shared[n], demonstrations.shared[n]) for q, n in asked]
        write_parquet(unit.output, pa.Table.from_pylist(rows, schemas.CONTAMINATION))
        touched = sum(row["question_overlap"] > 0 or row["demonstration_overlap"] > 0 for row in rows)
        logger.info("%s: %d of %d questions share at least one run of words", unit.benchmark, touched, len(rows))


def _questions(benchmark: str, path: Path) -> list[tuple[str, str]]:
    try:
        table = pq.read_table(path, columns=["question_id", "question"])
    except (OSError, pa.ArrowException) as error:
        raise DataError(f"the questions of {benchmark} cannot be read from {path}", "make that stage again") from error
    return [(row["question_id"], row["question"]) for row in table.to_pylist()]


def _stream(spec: ContaminationSpec, questions: OverlapTally, demonstrations: OverlapTally) -> None:
    report = worker.progress("rows")
    columns = ["question_id", "question", "demonstration"]
    try:
        with pq.ParquetFile(spec.data) as file:
            total, done = file.metadata.num_rows, 0
            for batch in file.iter_batches(batch_size=ROWS, columns=columns):
                for row in batch.to_pylist():
                    questions.take(row["question"], row["question_id"])
                    demonstrations.take(row["demonstration"] or "", row["question_id"])
                done += batch.num_rows
                report(done, total, "")
    except (OSError, pa.ArrowException) as error:
        raise DataError(f"{spec.data} cannot be read", "make that stage again") from error


def _row(question_id: str, ngrams: int, questions: Shared, demonstrations: Shared) -> dict[str, Any]:
    size = max(1, ngrams)
    return {
        "question_id": question_id,
        "ngrams": ngrams,
        "question_overlap": len(questions.grams) / size,
        "demonstration_overlap": len(demonstrations.grams) / size,
        "question_match": questions.match,
        "demonstration_match": demonstrations.match,
    }


if __name__ == "__main__":
    worker.main(ContaminationSpec, run)
