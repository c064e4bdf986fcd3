"""`python -m hpt_core.data.contamination SPEC.json`: how much of each benchmark question stands in training data.

The benchmarks' n-grams are held, the data streams past them: memory does not grow with the data. Texts are compared as
decontamination compares them (hpt_core/data/decontaminate.py), so data that were decontaminated against a benchmark
with the same n overlap none of its questions; their demonstrations, which decontamination does not read, may.
"""

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from hpt_core import schemas, worker
from hpt_core.config import ContaminationSpec
from hpt_core.data.decontaminate import split_ngrams, whole, words
from hpt_core.errors import DataError
from hpt_core.files import write_parquet

logger = logging.getLogger("hpt.data")

VERSION = 1
"""Raised when the same texts would give another overlap."""
ROWS = 256
"""Rows that are read together."""
_SIEVE_BITS = 22  # 4 MiB, few of them set even by all benchmarks together
_BASE = np.uint64(0x9E3779B97F4A7C15)


class Found:
    """What one benchmark question shares with texts of one kind."""

    __slots__ = ("match", "most", "ngrams")

    def __init__(self) -> None:
        self.ngrams: set[str] = set()
        """N-grams of the question that stand in some text."""
        self.match: str | None = None
        """The text that holds most of them, the first of equals."""
        self.most = 0

    def take(self, shared: set[str], text_id: str) -> None:
        """Note what one text shares."""
        self.ngrams |= shared
        if len(shared) > self.most:
            self.match, self.most = text_id, len(shared)


class Matcher:
    """Benchmark questions by their n-grams of `n` words, to hold texts against."""

    def __init__(self, n: int) -> None:
        self._n = n
        self._sizes: list[int] = []
        self._holders: dict[str, list[int]] = {}
        self._wholes: dict[str, list[int]] = {}
        self._word_ids: dict[str, int] = {}
        self._sieve = np.zeros(1 << _SIEVE_BITS, dtype=bool)

    def add(self, question: str) -> int:
        """Take in a benchmark question; returns its number."""
        number = len(self._sizes)
        found = words(question)
        grams = dict.fromkeys(split_ngrams(found, self._n))
        self._sizes.append(len(grams))
        for gram in grams:
            self._holders.setdefault(gram, []).append(number)
        if text := whole(question):
            self._wholes.setdefault(text, []).append(number)
        if grams:
            ids = [self._word_ids.setdefault(word, len(self._word_ids) + 1) for word in found]
            self._sieve[self._hashes(ids)] = True
        return number

    def ngrams(self, number: int) -> int:
        """Different n-grams of a question."""
        return self._sizes[number]

    def find(self, text: str) -> dict[int, set[str]]:
        """Question number -> its n-grams that `text` holds; {""} for a shorter question that is the same as `text`."""
        shared: dict[int, set[str]] = {}
        found = words(text)
        for start in self._candidates(found):
            gram = " ".join(found[start : start + self._n])
            for number in self._holders.get(gram, ()):
                shared.setdefault(number, set()).add(gram)
        if len(found) < self._n:
            for number in self._wholes.get(whole(text), ()):
                shared[number] = {""}
        return shared

    def _candidates(self, found: list[str]) -> list[int]:
        """Where an n-gram of the benchmarks may begin: all places where one does, and by chance a few others."""
        known = self._word_ids
        if len(found) < self._n or not known:
            return []
        starts = np.flatnonzero(self._sieve[self._hashes([known.get(word, 0) for word in found])])
        return [int(start) for start in starts]

    def _hashes(self, ids: Sequence[int]) -> npt.NDArray[np.int64]:
        """[len(ids) - n + 1] places in the sieve, one for each window of n word ids."""
        values = np.array(ids, dtype=np.uint64) * _BASE
        windows = len(ids) - self._n + 1
        total = np.zeros(windows, dtype=np.uint64)
        for offset in range(self._n):
            total = (total ^ values[offset : offset + windows]) * _BASE
            total ^= total >> np.uint64(29)
        return (total >> np.uint64(64 - _SIEVE_BITS)).astype(np.int64)


def run(spec: ContaminationSpec) -> None:
    """Write each unit's contamination.parquet, whole or not at all. Raises DataError."""
    matcher = Matcher(spec.ngram)
    numbers = [
        [(q, matcher.add(text)) for q, text in _questions(unit.benchmark, unit.questions)] for unit in spec.units
    ]
    total = sum(len(questions) for questions in numbers)
    in_questions, in_demonstrations = ([Found() for _ in range(total)] for _ in range(2))
    _stream(spec, matcher, in_questions, in_demonstrations)
    for unit, questions in zip(spec.units, numbers, strict=True):
        rows = [_row(q, matcher.ngrams(n), in_questions[n], in_demonstrations[n]) for q, n in questions]
        write_parquet(unit.output, pa.Table.from_pylist(rows, schemas.CONTAMINATION))
        overlapping = sum(row["question_overlap"] > 0 for row in rows)
        logger.info("%s: %d of %d questions overlap", unit.benchmark, overlapping, len(rows))


def _questions(benchmark: str, path: Path) -> list[tuple[str, str]]:
    try:
        table = pq.read_table(path, columns=["question_id", "question"])
    except (OSError, pa.ArrowException) as error:
        raise DataError(f"the questions of {benchmark} cannot be read from {path}", "make that stage again") from error
    return [(row["question_id"], row["question"]) for row in table.to_pylist()]


def _stream(
    spec: ContaminationSpec, matcher: Matcher, in_questions: list[Found], in_demonstrations: list[Found]
) -> None:
    report = worker.progress("rows")
    columns = ["question_id", "question", "demonstration"]
    try:
        with pq.ParquetFile(spec.data) as file:
            total, done = file.metadata.num_rows, 0
            for batch in file.iter_batches(batch_size=ROWS, columns=columns):
                for row in batch.to_pylist():
                    for number, shared in matcher.find(row["question"]).items():
                        in_questions[number].take(shared, row["question_id"])
                    for number, shared in matcher.find(row["demonstration"] or "").items():
                        in_demonstrations[number].take(shared, row["question_id"])
                done += batch.num_rows
                report(done, total, "")
    except (OSError, pa.ArrowException) as error:
        raise DataError(f"{spec.data} cannot be read", "make that stage again") from error


def _row(question_id: str, ngrams: int, questions: Found, demonstrations: Found) -> dict[str, Any]:
    size = max(1, ngrams)
    return {
        "question_id": question_id,
        "ngrams": ngrams,
        "question_overlap": len(questions.ngrams) / size,
        "demonstration_overlap": len(demonstrations.ngrams) / size,
        "question_match": questions.match,
        "demonstration_match": demonstrations.match,
    }


if __name__ == "__main__":
    worker.main(ContaminationSpec, run)
