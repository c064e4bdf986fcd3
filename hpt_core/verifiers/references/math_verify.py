"""Math-Verify as it comes: its own extraction from the whole response, its own comparison, its defaults for both."""

import logging
from importlib.metadata import version as package_version
from typing import ClassVar

from hpt_core.verifiers.base import Outcome, Verifier


class MathVerify(Verifier):
    """`verify(parse(gold), parse(response))`. The gold answer is put into a box, where Math-Verify finds LaTeX."""

    version: ClassVar[str] = f"math-verify-{package_version('math-verify')}"

    def extract(self, response: str, question: str = "") -> str | None:
        """The response itself: Math-Verify looks for the answer where `judge` runs, which can be killed."""
        return response

    def judge(self, gold: str, answer: str | None, question: str = "") -> Outcome:
        """NO_ANSWER and GOLD_ERROR where Math-Verify parses nothing, as also where it takes more than its five seconds;
        a comparison that takes more is INCORRECT to it."""
        from math_verify import parse, verify
        from math_verify.errors import TimeoutException

        logging.getLogger("math_verify").setLevel(logging.ERROR)
        try:
            truth = parse(gold if "\\boxed" in gold else f"\\boxed{{{gold}}}")
            if not truth:
                return Outcome.GOLD_ERROR
            found = parse(answer or "")
            if not found:
                return Outcome.NO_ANSWER
            return Outcome.CORRECT if verify(truth, found) else Outcome.INCORRECT
        except TimeoutException:  # no Exception; it may strike outside of where Math-Verify catches it
            return Outcome.TIMEOUT
