"""Extracts answers from a response: the content of \\boxed{} after the thinking."""

import re
from typing import NamedTuple

THINK, THINK_END = "<think>", "</think>"
_TOKEN = re.compile(r"\\boxed\s*\{|\\[{}]|\\\\(?!boxed)|[{}]")
"""Braces and opening boxes. Escaped braces and line breaks are matched too, so that they do not count as braces."""
_GAP = 80
"""Maximum characters between two boxes of one final statement, which is one paragraph."""


class Box(NamedTuple):
    """A \\boxed{} in a text: positions of its command, its content and its closing brace (None if it has none)."""

    command: int
    start: int
    end: int | None


def after_thinking(response: str) -> str:
    """The part after the last </think>, or the whole response if there is none.

    "" if a <think> follows: the response was cut off inside its thinking and has no answer.
    """
    rest = response.rpartition(THINK_END)[2]
    return "" if THINK in rest else rest


def boxes(text: str) -> list[Box]:
    """All boxes in the order of their opening. One pass.

    A stray or missing brace elsewhere affects only the boxes that it makes incomplete.
    """
    found: list[Box] = []
    opened: list[int | None] = []
    for token in _TOKEN.finditer(text):
        said = token.group()
        if said == "{":
            opened.append(None)
        elif said.startswith("\\boxed"):
            opened.append(len(found))
            found.append(Box(token.start(), token.end(), None))
        elif said == "}" and opened and (index := opened.pop()) is not None:
            found[index] = found[index]._replace(end=token.start())
    return found


def content(text: str, box: Box) -> str:
    """What is in the box."""
    return text[box.start : box.end].strip()


def last_boxed(text: str) -> str | None:
    """Content of the box that opens last; None if there is none or it is cut off."""
    found = boxes(text)
    return None if not found or found[-1].end is None else content(text, found[-1])


def final_boxes(text: str) -> str | None:
    """Content of the box that opens last, or the text from the first to the last of several boxes that are near each
    other ("\\boxed{3} and \\boxed{8}"), or all from a box that is cut off; None if there is no box."""
    found = boxes(text)
    if not found:
        return None
    last = found[-1]
    if last.end is None:
        return text[last.command :]
    first = last
    for box in reversed(found[:-1]):
        gap = text[box.end : first.command] if box.end is not None and box.end < first.command else None
        if gap is None or len(gap) > _GAP or re.search(r"\n\s*\n", gap):
            break
        first = box
    distinct = {content(text, box) for box in found if first.command <= box.command}
    if len(distinct) == 1:
        return content(text, last)
    return text[first.command : last.end + 1]
