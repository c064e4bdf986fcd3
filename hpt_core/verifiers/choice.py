"""Multiple choice by label: the gold answer is a letter A-J, or a digit 1-5 where a benchmark labels so."""

import re

from hpt_core.verifiers._extract import after_thinking, last_boxed
from hpt_core.verifiers.base import Outcome, Verdict

_GOLD = re.compile(r"\(?([A-Ja-j]|[1-5])\)?")
_WRAPPING = re.compile(r"\\(?:text(?:bf|rm|it)?|math(?:rm|bf)|boldsymbol|rm|bf)(?![a-zA-Z])\s*|[{}$*]|\\[()\[\]]")
_LABEL = re.compile(
    r"(?:the\s+)?(?:answer|option|choice)?\s*[:(\[]?\s*([A-J]|[1-5])\s*(?:[)\].:](?!\d).*|[-–—]\s.*)?",
    re.IGNORECASE | re.DOTALL,
)
"""A whole text that is a label: C, (C), C., C) and its option, Option C."""
_STATED = re.compile(
    r"\b(?i:answer)\s*(?:(?i:is|would\s+be|must\s+be)\b|[:=])[\s:]*(?i:option|choice)?\s*"
    r"(?:\(([A-Ja-j]|[1-5])\)|([B-HJ]|[1-5])(?![\w'’%^/]|\.\d)|([AI])(?=\s*(?:[.,;:)\n]|$)))"
    r"|\b(?i:option|choice)\s*\(?([A-J]|[1-5])\)?\s+is\s+(?:the\s+)?(?:correct|right|best)",
)
"""A sentence that names the label; the bare letters A and I, which are words too, only before punctuation."""
_TAIL = 4000
"""Characters at the response's end in which a sentence may name the answer."""


class Choice:
    """The answer is the label in the last \\boxed{} after the thinking, else in the last sentence that names one."""

    version = "choice-1"

    def extract(self, response: str) -> str | None:
        """The label in capitals; a box without a label as it stands; None where there is neither."""
        text = after_thinking(response)
        boxed = last_boxed(text)
        if boxed is not None:
            return _label(boxed) or boxed or None
        tail = _WRAPPING.sub("", text[-_TAIL:])
        named = [next(group for group in match.groups() if group) for match in _STATED.finditer(tail)]
        if named:
            return named[-1].upper()
        return _label(text) if len(text) <= _TAIL else None

    def judge(self, gold: str, answer: str | None) -> Outcome:
        """GOLD_ERROR where the gold answer is no label, whatever the answer."""
        truth = _GOLD.fullmatch(_WRAPPING.sub("", gold.removeprefix("\\boxed")).strip())
        if truth is None:
            return Outcome.GOLD_ERROR
        if answer is None:
            return Outcome.NO_ANSWER
        return Outcome.CORRECT if answer == truth.group(1).upper() else Outcome.INCORRECT

    def verify(self, gold: str, response: str) -> Verdict:
        """Extract, then judge."""
        answer = self.extract(response)
        return Verdict(self.judge(gold, answer), answer)


def _label(text: str) -> str | None:
    match = _LABEL.fullmatch(_WRAPPING.sub("", text).strip())
    return match.group(1).upper() if match else None


VERIFIER = Choice()
