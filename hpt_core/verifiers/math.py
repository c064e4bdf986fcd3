"""Math answers: mathematically equal to the gold answer, with the help of Math-Verify's parser and comparison."""

from importlib.metadata import version as package_version
from typing import ClassVar

from hpt_core.verifiers._extract import after_thinking, last_boxed
from hpt_core.verifiers.base import Outcome, Verifier

LONGEST = 8000
"""Maximum characters of an answer. A longer answer is incorrect; a longer gold answer is a GOLD_ERROR."""


class Math(Verifier):
    """The answer is the last \\boxed{} after the thinking.

    A unit may be omitted or added, because the question names it; a different unit is incorrect. Several answers and
    sets compare in any order, tuples and intervals in their own order. A decimal may stand for an exact value that it
    rounds to six places. Variables are case-sensitive, words are not.
    """

    version: ClassVar[str] = "+".join(
        ["math-6", *(f"{p}-{package_version(p)}" for p in ("math-verify", "latex2sympy2_extended", "sympy"))]
    )

    references: ClassVar[tuple[str, ...]] = ("string", "math_verify")

    def extract(self, response: str, question: str = "") -> str | None:
        """The content of the last \\boxed{} after the thinking; None if there is none or it is empty."""
        return last_boxed(after_thinking(response)) or None

    def judge(self, gold: str, answer: str | None, question: str = "") -> Outcome:
        """GOLD_ERROR if the gold answer does not parse, whatever the answer; else the result of the comparison."""
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
            # "108,135" is one number, unless the gold answer has several parts.
            if isinstance(truth, Many | Ordered) and same(truth, read(answer, listed=True)):
                return Outcome.CORRECT
        except Unreadable:
            pass
        return Outcome.INCORRECT
