"""Verdicts, and the contract of a verifier. Training rewards and evaluation scores come from the same ones."""

from enum import StrEnum
from typing import NamedTuple, Protocol


class Outcome(StrEnum):
    """What a verifier found."""

    CORRECT = "correct"
    INCORRECT = "incorrect"
    NO_ANSWER = "no_answer"
    """The response holds nothing that could be taken for an answer."""
    TIMEOUT = "timeout"
    """The comparison ran past its limit and was killed."""
    CRASH = "crash"
    """The comparison took its process down, or more memory or recursion than it may, twice."""
    GOLD_ERROR = "gold_error"
    """The gold answer itself cannot be read: a fault of the data, never a reward."""


class Verdict(NamedTuple):
    """The outcome and the answer as it was read out of the response (None where there is none)."""

    outcome: Outcome
    extracted: str | None

    @property
    def reward(self) -> float:
        """1.0 where correct, else 0.0."""
        return float(self.outcome is Outcome.CORRECT)


class Verifier(Protocol):
    """A verifier in two steps, so that equal answers are compared once. Both are pure functions.

    `question` is the question's text, "" where it is not known.
    """

    version: str
    """Name and version; part of the fingerprint of every verdict."""
    reads_question: bool
    """Whether a verdict depends on the question (its options), and not on the gold answer and the response alone."""

    def extract(self, response: str, question: str = "") -> str | None:
        """The answer as it stands in `response`, or None. Linear in the response's length and safe on any text."""
        ...

    def judge(self, gold: str, answer: str | None, question: str = "") -> Outcome:
        """Compare an extracted answer with `gold`. It may be slow or never return: it runs in a killable process
        (pool.py). A gold answer that cannot be read is GOLD_ERROR whatever the answer."""
        ...

    def verify(self, gold: str, response: str, question: str = "") -> Verdict:
        """`extract`, then `judge`."""
        ...
