"""Multiple choice by letter: the gold answer is a letter A-J or a digit label 1-5."""

import re

from hpt_core.verifiers._extract import after_thinking, last_boxed
from hpt_core.verifiers.base import Outcome, Verdict

_LABEL = re.compile(r"[A-J]|[1-5]")


class Choice:
    """Compares option labels."""

    version = "choice-1"

    def extract(self, response: str) -> str | None:
        text = after_thinking(response)
        return last_boxed(text)

    def judge(self, gold: str, answer: str | None) -> Outcome:
        if not _LABEL.fullmatch(gold.strip().upper()):
            return Outcome.GOLD_ERROR
        if answer is None:
            return Outcome.NO_ANSWER
        return Outcome.CORRECT if answer == gold.strip().upper() else Outcome.INCORRECT

    def verify(self, gold: str, response: str) -> Verdict:
        answer = self.extract(response)
        return Verdict(self.judge(gold, answer), answer)


VERIFIER = Choice()
