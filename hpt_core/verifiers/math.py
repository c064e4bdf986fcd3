"""Maths answers: equal to the gold answer as mathematics, by Math-Verify."""

from importlib.metadata import version as package_version

from hpt_core.verifiers._extract import after_thinking, last_boxed
from hpt_core.verifiers.base import Outcome, Verdict


class Math:
    """Compares mathematical answers."""

    version = f"math-1+math-verify-{package_version('math-verify')}+sympy-{package_version('sympy')}"

    def extract(self, response: str) -> str | None:
        """The content of the last \\boxed{} after the thinking."""
        return last_boxed(after_thinking(response)) or None

    def judge(self, gold: str, answer: str | None) -> Outcome:
        """Outcome of `answer` against `gold`."""
        from math_verify import parse, verify

        parsed_gold = parse(f"\\boxed{{{gold}}}", parsing_timeout=None)
        if not parsed_gold:
            return Outcome.GOLD_ERROR
        if answer is None:
            return Outcome.NO_ANSWER
        parsed = parse(f"\\boxed{{{answer}}}", parsing_timeout=None)
        return Outcome.CORRECT if verify(parsed_gold, parsed, timeout_seconds=None) else Outcome.INCORRECT

    def verify(self, gold: str, response: str) -> Verdict:
        """Extract, then judge."""
        answer = self.extract(response)
        return Verdict(self.judge(gold, answer), answer)


VERIFIER = Math()
