"""Multiple choice as text: the options under the question, each with its label."""

import hashlib
import re
from collections.abc import Sequence

LETTERS = "ABCDEFGHIJ"
INSTRUCTION = "Please reason step by step, and put only the label of the correct option within \\boxed{}."
"""Asks for the option's label (a letter; a digit in the rows of ARC that have digits) where maths asks for a value."""


def with_options(question: str, labels: Sequence[str], options: Sequence[str], mark: str = ")") -> str:
    """The question, an empty line, and a line "LABEL) OPTION" for each option."""
    lines = (f"{label}{mark} {option}" for label, option in zip(labels, options, strict=True))
    return question + "\n\n" + "\n".join(lines)


def offered(question: str) -> list[str]:
    """Labels of the options that stand at the end of `question`, "A) ..." or "A. ..." a line; [] where there are none.

    An option may go over several lines, numbered ones too, so letters come before digits and what counts is the run
    from the last "A" (or "1") on.
    """
    found = re.findall(r"^([A-J]|[1-9])[.)] ", question, re.MULTILINE)
    for alphabet in (LETTERS, "123456789"):
        run: list[str] = []
        for label in found:
            if label == alphabet[0]:
                run = [label]
            elif run and label == alphabet[len(run) % len(alphabet)]:
                run.append(label)
        if len(run) > 1:
            return run
    return []


def require_offered(gold: str, labels: Sequence[str]) -> None:
    """Raise ValueError where `gold` is not one of the labels."""
    if gold not in labels:
        raise ValueError(f"answer {gold!r} is not among the options {', '.join(labels) or '(none found)'}")


def shuffled(question: str, correct: str, wrong: Sequence[str]) -> tuple[list[str], str]:
    """The options in an order fixed once by a stable hash, and the letter of the correct one.

    Each option is placed by SHA-256 of the question and the option, so the order depends on no generator, no other
    row and no order of the columns. Raises ValueError where two options are the same text.
    """
    options = [correct, *wrong]
    if len(set(options)) < len(options):
        raise ValueError("two of its options are the same")
    ordered = sorted(options, key=lambda option: hashlib.sha256(f"{question}\x1f{option}".encode()).digest())
    return ordered, LETTERS[ordered.index(correct)]
