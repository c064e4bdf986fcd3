"""Extracts an answer from a response: the last complete \\boxed{} after the thinking."""

import re

THINK, THINK_END = "<think>", "</think>"
_TOKEN = re.compile(r"\\boxed\s*\{|\\[{}]|\\\\(?!boxed)|[{}]")
"""Braces and opening boxes. Escaped braces and line breaks are matched too, so that they do not count as braces."""


def after_thinking(response: str) -> str:
    """The part after the last </think>, or the whole response if there is none.

    "" if a <think> follows: the response was cut off inside its thinking and has no answer.
    """
    rest = response.rpartition(THINK_END)[2]
    return "" if THINK in rest else rest


def last_boxed(text: str) -> str | None:
    """Content of the last-opening \\boxed{} with balanced braces, or None.

    One pass. A stray or missing brace elsewhere affects only the boxes that it makes incomplete.
    """
    opened: list[tuple[int, bool]] = []
    best: tuple[int, int] | None = None
    for token in _TOKEN.finditer(text):
        found = token.group()
        if found.startswith("\\boxed") or found == "{":
            opened.append((token.end(), found != "{"))
        elif found == "}" and opened:
            start, boxed = opened.pop()
            if boxed and (best is None or start > best[0]):
                best = (start, token.start())
    return None if best is None else text[best[0] : best[1]].strip()
