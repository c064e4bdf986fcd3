"""The simplest grader: the last box equals the gold answer, ignoring white space and dollar signs."""

import re
from typing import ClassVar

from hpt_core.verifiers._extract import last_boxed
from hpt_core.verifiers.base import Outcome, Verifier

_IGNORED = re.compile(r"[\s$]+")


class String(Verifier):
    """Compares texts character by character."""

    version: ClassVar[str] = "string-1"

    def extract(self, response: str, question: str = "") -> str | None:
        """The content of the last \\boxed{}, or None."""
        return last_boxed(response) or None

    def judge(self, gold: str, answer: str | None, question: str = "") -> Outcome:
        """GOLD_ERROR if the gold answer is empty."""
        truth = _bare(gold)
        if not truth:
            return Outcome.GOLD_ERROR
        if answer is None:
            return Outcome.NO_ANSWER
        return Outcome.CORRECT if _bare(answer) == truth else Outcome.INCORRECT


def _bare(text: str) -> str:
    """`text` without its box, white space and dollar signs."""
    inside = last_boxed(text) if text.lstrip(" $").startswith("\\boxed") else None
    return _IGNORED.sub("", text if inside is None else inside)
