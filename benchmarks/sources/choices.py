"""Multiple choice as text: the options follow the question, each with its label."""

import hashlib
from collections.abc import Sequence

LETTERS = "ABCDEFGHIJ"
INSTRUCTION = "Please reason step by step, and put only the label of the correct option within \\boxed{}."
"""Asks for the option's label (a letter, or a digit in the ARC rows that use digits) instead of a value."""


def with_options(question: str, labels: Sequence[str], options: Sequence[str], mark: str = ")") -> str:
    """The question, an empty line, and a line "LABEL) OPTION" for each option."""
    lines = (f"{label}{mark} {option}" for label, option in zip(labels, options, strict=True))
    return question + "\n\n" + "\n".join(lines)


def shuffled(question: str, correct: str, wrong: Sequence[str]) -> tuple[list[str], str]:
    """The options in an order fixed by a stable hash, and the letter of the correct one.

    Options are sorted by SHA-256 of the question and the option, so the order does not depend on a random generator,
    other rows or the order of the columns. Raises ValueError if two options are equal.
    """
    options = [correct, *wrong]
    if len(set(options)) < len(options):
        raise ValueError("two of its options are the same")
    ordered = sorted(options, key=lambda option: hashlib.sha256(f"{question}\x1f{option}".encode()).digest())
    return ordered, LETTERS[ordered.index(correct)]
