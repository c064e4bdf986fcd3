"""Which training questions overlap a benchmark's: shared word n-grams, and short questions as wholes."""

import re
import unicodedata
from typing import NamedTuple

VERSION = 2
"""Raised when the same texts would overlap otherwise."""
_WORD = re.compile(r"[^\W_]+")
_TOKEN = re.compile(r"[^\W_]+|[+*/^=<>×÷−]|(?<![^\W\d_])-|-(?![^\W\d_])")
"""A word or an operator; the hyphen between two letters is none."""


def words(text: str) -> list[str]:
    """The words and numbers of a text, whatever its case, punctuation, white space and Unicode form."""
    return _WORD.findall(_plain(text))


def whole(text: str) -> str:
    """A text as a whole: its words and, since short questions often differ in nothing else, its operators."""
    return " ".join(_TOKEN.findall(_plain(text)))


def split_ngrams(found: list[str], n: int) -> list[str]:
    """Every run of `n` words, in order; none where there are fewer words."""
    return [" ".join(found[i : i + n]) for i in range(len(found) - n + 1)]


def _plain(text: str) -> str:
    # Soft hyphens and zero-width characters (category Cf) stand inside of words and are not seen.
    text = "".join(c for c in text if c.isascii() or unicodedata.category(c) != "Cf")
    # Case folding can leave the composed form, so the form is settled afterwards.
    return unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", text).casefold())


class BenchmarkQuestion(NamedTuple):
    """The benchmark question that a text overlaps."""

    benchmark: str
    question_id: str


class OverlapIndex:
    """Benchmark questions by their n-grams of `n` words; those with fewer words only match a text that is the same."""

    def __init__(self, n: int) -> None:
        self._n = n
        self._ngrams: dict[str, BenchmarkQuestion] = {}
        self._wholes: dict[str, BenchmarkQuestion] = {}

    def add(self, benchmark: str, question_id: str, question: str) -> None:
        """Take in one benchmark question; where several share an n-gram the first is reported."""
        overlap = BenchmarkQuestion(benchmark, question_id)
        if text := whole(question):
            self._wholes.setdefault(text, overlap)
        for ngram in self._split(question):
            self._ngrams.setdefault(ngram, overlap)

    def find(self, question: str) -> BenchmarkQuestion | None:
        """The first benchmark question that `question` overlaps, or None."""
        for ngram in self._split(question):
            if ngram in self._ngrams:
                return self._ngrams[ngram]
        return self._wholes.get(whole(question))

    def _split(self, text: str) -> list[str]:
        return split_ngrams(words(text), self._n)
