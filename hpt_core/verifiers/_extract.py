"""Where an answer stands in a response: after the thinking, in the last complete \\boxed{}."""

import re

THINK_END = "</think>"
_TOKEN = re.compile(r"\\boxed\s*\{|\\[{}]|\\\\(?!boxed)|[{}]")
"""What matters to the nesting of groups: an opening box, escaped braces and line breaks (no groups), braces."""


def after_thinking(response: str) -> str:
    """The part after the last </think>, or all of it where there is none."""
    return response.rpartition(THINK_END)[2]


def last_boxed(text: str) -> str | None:
    """Content of the \\boxed{} that opens last among those whose braces are balanced, or None.

    One pass: a stray or missing brace elsewhere costs only the boxes it makes incomplete.
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
