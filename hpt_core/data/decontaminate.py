"""Finds training questions that overlap benchmark questions: shared word n-grams, or equal short questions."""

import re
import unicodedata
from pathlib import Path
from typing import NamedTuple

import pyarrow as pa
import pyarrow.parquet as pq

from hpt_core.errors import DataError

VERSION = 2
"""Raise it when the same texts would give another overlap."""
_WORD = re.compile(r"[^\W_]+")
_TOKEN = re.compile(r"[^\W_]+|[+*/^=<>×÷−]|(?<![^\W\d_])-|-(?![^\W\d_])")
"""A word or an operator. A hyphen between two letters is not an operator."""


def words(text: str) -> list[str]:
    """The words and numbers of a text, independent of case, punctuation, white space and Unicode form."""
    return _WORD.findall(_plain(text))


def whole(text: str) -> str:
    """A text's words and operators. Short questions often differ only in their operators."""
    return " ".join(_TOKEN.findall(_plain(text)))


def as_whole(text: str) -> tuple[str, ...]:
    """A whole text as a gram that no run of words equals; none if it has no word or operator."""
    found = whole(text)
    return (f"= {found}",) if found else ()


def split_ngrams(found: list[str], n: int) -> list[str]:
    """Every run of `n` words, in order; none if there are fewer words."""
    return [" ".join(found[i : i + n]) for i in range(len(found) - n + 1)]


def _plain(text: str) -> str:
    # Soft hyphens and zero-width characters (category Cf) are invisible inside words.
    if not text.isascii():
        text = "".join(c for c in text if c.isascii() or unicodedata.category(c) != "Cf")
    # Case folding can undo the composed form, so normalize again afterwards.
    return unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", text).casefold())


class BenchmarkQuestion(NamedTuple):
    """The benchmark question that a text overlaps."""

    benchmark: str
    question_id: str


def read_questions(benchmark: str, path: Path) -> list[tuple[str, str]]:
    """(id, text) of each benchmark question in questions.parquet. Raises DataError if it cannot be read."""
    try:
        table = pq.read_table(path, columns=["question_id", "question"])
    except (OSError, pa.ArrowException) as error:
        raise DataError(f"the questions of {benchmark} cannot be read from {path}", "run that stage again") from error
    return [(row["question_id"], row["question"]) for row in table.to_pylist()]


class OverlapIndex:
    """Benchmark questions by their n-grams of `n` words. A question with fewer words matches only an equal text."""

    def __init__(self, n: int) -> None:
        self._n = n
        self._questions: dict[str, BenchmarkQuestion] = {}

    def add(self, benchmark: str, question_id: str, question: str) -> None:
        """Add one benchmark question. Where several share an n-gram, the first is reported."""
        for gram in self._grams(question):
            self._questions.setdefault(gram, BenchmarkQuestion(benchmark, question_id))

    def find(self, question: str) -> BenchmarkQuestion | None:
        """The first benchmark question that `question` overlaps, or None."""
        if not self._questions:
            return None
        return next((self._questions[gram] for gram in self._grams(question) if gram in self._questions), None)

    def _grams(self, text: str) -> list[str]:
        return [*split_ngrams(words(text), self._n), *as_whole(text)]
