"""`python -m hpt_core.data.contamination SPEC.json`: how much of each benchmark question appears in training data.

The benchmarks' n-grams are held in memory and the training data are streamed, so memory hardly grows with the data.
Words are split as in decontamination (hpt_core/data/decontaminate.py). A question with fewer words than an n-gram is
searched for as one run of its own length. A question with fewer than SHORTEST words must equal the whole text, because
any text may contain so few words.
"""

import logging
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from pydantic import Field

from hpt_core import schemas, worker
from hpt_core.base import Frozen
from hpt_core.data.decontaminate import as_whole, read_questions, split_ngrams, words
from hpt_core.errors import DataError
from hpt_core.files import write_parquet

logger = logging.getLogger("hpt.data")

VERSION = 3
"""Raise it when the same texts would give another overlap."""
SHORTEST = 6
"""Minimum words of a question that is searched for inside texts. A shorter one must equal the whole text."""
ROWS = 256
"""Rows per read."""
_COMMON = 8
"""A gram is common if at least this many questions contain it."""


class ContaminationUnit(Frozen):
    """One benchmark against the training data."""

    benchmark: str
    questions: Path
    """questions.parquet."""
    output: Path
    """contamination.parquet to write."""


class ContaminationSpec(Frozen):
    """Spec of `python -m hpt_core.data.contamination`: one pass over the data for every missing benchmark."""

    data: Path
    """prepared.parquet."""
    ngram: int = Field(ge=1)
    """Words of an n-gram."""
    units: tuple[ContaminationUnit, ...]


class Matcher:
    """An index of benchmark questions by their grams, to search texts for them.

    A gram is a run of `n` words, or of all the words of a shorter question. A question of fewer than SHORTEST words has
    one gram that stands for the whole question, operators included; no run of words equals it.
    """

    def __init__(self, n: int) -> None:
        self._n = n
        self._shortest = min(n, SHORTEST)
        self._grams: list[frozenset[str]] = []
        self._ngrams: list[int] = []
        self._holders: dict[str, list[int]] = {}
        self._lengths: set[int] = set()
        self._beginnings: set[str] = set()
        """The first words of every gram, as many as the shortest has. They tell where in a text to look."""

    def add(self, question: str) -> int:
        """Add a benchmark question; returns its number."""
        number = len(self._grams)
        found = words(question)
        length = min(self._n, len(found)) if len(found) >= self._shortest else 0
        grams = frozenset(split_ngrams(found, length) if length else as_whole(question))
        self._grams.append(grams)
        self._ngrams.append(len(grams) if length else 0)
        for gram in grams:
            self._holders.setdefault(gram, []).append(number)
        if length:
            self._lengths.add(length)
            last = len(found) - length
            self._beginnings.update(split_ngrams(found[: last + self._shortest], self._shortest))
        return number

    def __len__(self) -> int:
        """Number of questions."""
        return len(self._grams)

    def ngrams(self, number: int) -> int:
        """Distinct runs of words of a question; 0 if it is compared as a whole."""
        return self._ngrams[number]

    def grams(self, number: int) -> frozenset[str]:
        """Grams of a question."""
        return self._grams[number]

    def holders(self, gram: str) -> list[int]:
        """Numbers of the questions that contain a gram."""
        return self._holders[gram]

    def find(self, text: str) -> frozenset[str]:
        """The grams of all questions that appear in `text`."""
        found = words(text)
        beginnings = enumerate(split_ngrams(found, self._shortest))
        starts = [start for start, beginning in beginnings if beginning in self._beginnings]
        runs = {" ".join(found[start : start + length]) for start in starts for length in self._lengths}
        return frozenset(self._holders.keys() & runs.union(as_whole(text)))


class Shared:
    """Overlap of one benchmark question with one kind of text."""

    __slots__ = ("grams", "match", "most")

    def __init__(self) -> None:
        self.grams: set[str] = set()
        """Grams of the question that appear in some text."""
        self.match: str | None = None
        """The text that contains most of them; the first one in a tie."""
        self.most = 0


class OverlapTally:
    """Overlap of all questions with one kind of text: training questions or demonstrations."""

    def __init__(self, matcher: Matcher) -> None:
        self._matcher = matcher
        self.shared = [Shared() for _ in range(len(matcher))]
        self._seen: set[frozenset[str]] = set()

    def take(self, text: str, text_id: str) -> None:
        """Record the overlap of one text with the questions."""
        grams = self._matcher.find(text)
        if not grams:
            return
        holders = self._matcher.holders
        common = frozenset(gram for gram in grams if len(holders(gram)) >= _COMMON)
        questions = {number for gram in grams - common for number in holders(gram)}
        # Many questions may share a preamble. Once a text with exactly these common grams was counted, another one adds
        # nothing.
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
        [(q, matcher.add(text)) for q, text in read_questions(unit.benchmark, unit.questions)] for unit in spec.units
    ]
    questions, demonstrations = OverlapTally(matcher), OverlapTally(matcher)
    _stream(spec, questions, demonstrations)
    for unit, asked in zip(spec.units, numbers, strict=True):
        rows = [_row(q, matcher.ngrams(n), questions.shared[n], demonstrations.shared[n]) for q, n in asked]
        write_parquet(unit.output, pa.Table.from_pylist(rows, schemas.CONTAMINATION))
        touched = sum(row["question_overlap"] > 0 or row["demonstration_overlap"] > 0 for row in rows)
        logger.info("%s: %d of %d questions share at least one run of words", unit.benchmark, touched, len(rows))


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
        raise DataError(f"{spec.data} cannot be read", "run that stage again") from error


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
