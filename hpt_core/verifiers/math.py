"""Maths answers: equal to the gold answer as mathematics, read by Math-Verify's parser and compared with its help."""

from importlib.metadata import version as package_version
from typing import ClassVar

from hpt_core.verifiers._extract import after_thinking, last_boxed
from hpt_core.verifiers.base import Outcome, Verifier

LONGEST = 8000
"""Characters of an answer that is read; a longer one is incorrect, and a longer gold answer a GOLD_ERROR."""


class Math(Verifier):
    """The answer is the last \\boxed{} after the thinking.

    A unit may be left out or added, since the question names it; a different unit is incorrect. Several answers and
    sets compare in any order, tuples and intervals in theirs. A decimal may stand for an exact value that it rounds
    at six places. Variables are case-sensitive, words are not.
    """

    version: ClassVar[str] = "+".join(
        ["math-5", *(f"{p}-{package_version(p)}" for p in ("math-verify", "latex2sympy2_extended", "sympy"))]
    )

    references: ClassVar[tuple[str, ...]] = ("string", "math_verify")

    def extract(self, response: str, question: str = "") -> str | None:
        """The content of the last \\boxed{} after the thinking; None where there is none or it is empty."""
        return last_boxed(after_thinking(response)) or None

    def judge(self, gold: str, answer: str | None, question: str = "") -> Outcome:
        """GOLD_ERROR where the gold answer does not parse, whatever the answer; else how the answer compares."""
        from hpt_core.verifiers._equality import check, same
        from hpt_core.verifiers._reading import Many, Ordered, Unreadable, read

        if len(gold) > LONGEST:
            return Outcome.GOLD_ERROR
        try:
            truth = read(gold)
            check(truth)
        except Unreadable:
            return Outcome.GOLD_ERROR
        if answer is None:
            return Outcome.NO_ANSWER
        if len(answer) > LONGEST:
            return Outcome.INCORRECT
        try:
            if same(truth, read(answer)):
                return Outcome.CORRECT
            # "108,135" is one number, except as an answer to what has several.
            if isinstance(truth, Many | Ordered) and same(truth, read(answer, listed=True)):
                return Outcome.CORRECT
        except Unreadable:
            pass
        return Outcome.INCORRECT
