"""Math-Verify with its defaults: its own extraction from the whole response and its own comparison."""

import logging
from importlib.metadata import version as package_version
from typing import ClassVar

from hpt_core.verifiers.base import Outcome, Verifier


class MathVerify(Verifier):
    """`verify(parse(gold), parse(response))`, with the gold answer in \\boxed{}, where Math-Verify finds LaTeX."""

    version: ClassVar[str] = f"math-verify-{package_version('math-verify')}"

    def extract(self, response: str, question: str = "") -> str | None:
        """The whole response. Math-Verify extracts the answer in `judge`, which runs in a killable process."""
        return response

    def judge(self, gold: str, answer: str | None, question: str = "") -> Outcome:
        """NO_ANSWER or GOLD_ERROR where Math-Verify parses nothing or takes more than its five seconds to parse. A
        comparison that takes longer is INCORRECT."""
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
        except TimeoutException:  # not a subclass of Exception; may be raised where Math-Verify does not catch it
            return Outcome.TIMEOUT
