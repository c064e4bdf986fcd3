"""Math answers: mathematically equal to the gold answer, with the help of Math-Verify's parser and comparison."""

import re
from collections.abc import Callable
from importlib.metadata import version as package_version
from typing import ClassVar

from hpt_core.verifiers._extract import after_thinking, boxes, content, final_boxes
from hpt_core.verifiers.base import Judgment, Outcome, Verifier

LONGEST = 8000
"""Maximum characters of an answer. A longer answer is incorrect; a longer gold answer is a GOLD_ERROR."""
_FILLER = (
    r"[\s$.,;&/}{()*•-]|\\[()\[\] \\]|\\(?:q?quad|lor|land|vee|wedge|text)(?![a-z])|\d+[.)]"
    r"|\b(?:and|or|possibly|maybe|perhaps|also|either)\b"
)
_JOINED = re.compile(rf"(?:{_FILLER})*(?:[A-Za-z](?:_\w)?(?:\(\w+\))?\s*=\s*)?", re.IGNORECASE)
"""Between two boxes that state two answers at once: punctuation, "and", "or", numbering, the second answer's name."""


class Math(Verifier):
    """The answer is the last \\boxed{} after the thinking. A box that is cut off there is incorrect.

    Where the gold answer has several parts, they may be in boxes of their own at the end of the response. Where it has
    one, several boxes joined by "and" or "or" are incorrect.

    A unit may be omitted or added, because the question names it; a different unit is incorrect. Several answers and
    sets compare in any order, tuples and intervals in their own order. A decimal may stand for an exact value that it
    rounds to six places. Variables are case-sensitive, words are not.
    """

    version: ClassVar[str] = "+".join(
        [
            "math-7",
            *(
                f"{package}-{package_version(package)}"
                for package in ("math-verify", "latex2sympy2_extended", "sympy", "python-flint")
            ),
        ]
    )

    example: ClassVar[tuple[str, str] | None] = (r"$\frac{1}{2}x^2 + \sqrt{3}$", r"\sqrt{3} + 0.5x^{2}")
    references: ClassVar[tuple[str, ...]] = ("string", "math_verify")

    def extract(self, response: str, question: str = "") -> str | None:
        """The content of the last \\boxed{} after the thinking; None if there is none or it is empty. Several boxes
        near each other are kept with the text between them."""
        return final_boxes(after_thinking(response)) or None

    def check_gold(self, gold: str, question: str) -> None:
        """It must be short enough to be read."""
        if len(gold) > LONGEST:
            raise ValueError(f"has an answer of more than {LONGEST:,} characters, which the verifier does not read")

    def judge(self, gold: str, answer: str | None, question: str = "") -> Outcome | Judgment:
        """GOLD_ERROR if the gold answer does not parse, whatever the answer; else the result of the comparison."""
        from hpt_core.verifiers._equality import check, same
        from hpt_core.verifiers._nodes import Many, Ordered, Unreadable
        from hpt_core.verifiers._reading import read

        if len(gold) > LONGEST:
            return self.gold_error(f"longer than {LONGEST:,} characters")
        try:
            truth = read(gold)
            check(truth)
        except Unreadable as error:
            return self.gold_error(str(error))
        if answer is None:
            return Outcome.NO_ANSWER
        if len(answer) > LONGEST:
            return Outcome.INCORRECT

        several = isinstance(truth, Many | Ordered)

        def equal(text: str) -> bool:
            try:
                # "108,135" is one number, unless the gold answer has several parts.
                return same(truth, read(text)) or (several and same(truth, read(text, listed=True)))
            except Unreadable:
                return False

        parts = len(truth.items) if isinstance(truth, Many | Ordered) else 1
        return Outcome.CORRECT if _judged(answer, parts, equal) else Outcome.INCORRECT


def _judged(answer: str, parts: int, equal: Callable[[str], bool]) -> bool:
    """Whether an answer, or the boxes in it, equal a gold answer of several `parts`."""
    found = boxes(answer) if answer.startswith("\\boxed") else []
    if not found:
        return equal(answer)
    if found[-1].end is None:
        return False
    inside = [content(answer, box) for box in found]
    first = len(found) - 1
    while first and _JOINED.fullmatch(answer[found[first - 1].end : found[first].command]):
        first -= 1
    stated = inside[first:]
    if len(stated) == 1 and equal(stated[0]):
        return True
    # Joined boxes are one list; others state the parts one after the other.
    whole = stated if len(stated) > 1 else inside
    return all(map(equal, stated)) or (len(whole) == parts > 1 and equal(", ".join(whole)))
