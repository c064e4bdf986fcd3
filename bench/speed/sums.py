"""Training questions that need no data set: sums of two to four digits with worked solutions, in ASCII."""

import random
from pathlib import Path
from typing import Any, NamedTuple

import pyarrow as pa

from hpt_core import schemas
from hpt_core.files import write_parquet

TEMPLATE = "{question} "
PROMPT = {"name": "plain", "template": TEMPLATE, "instruction": None}


class Sum(NamedTuple):
    """A question."""

    question: str
    """Such as "3+4+5"."""
    total: int
    demonstration: str
    """Such as "3+4=7; 7+5=12 \\\\boxed{12}"."""


def prompt(one: Sum) -> str:
    """The prompt, without <bos>."""
    return TEMPLATE.format(question=one.question)


def sample(count: int) -> list[Sum]:
    """At most `count` distinct sums. The seed is fixed, so every call returns the same sums."""
    generator = random.Random(0)
    found = {}
    for i in range(count):
        digits = [generator.randrange(10) for _ in range(2 + i % 3)]
        total, lines = digits[0], []
        for digit in digits[1:]:
            lines.append(f"{total}+{digit}={total + digit}")
            total += digit
        question = "+".join(map(str, digits))
        found[question] = Sum(question, total, "; ".join(lines) + f" \\boxed{{{total}}}")
    return list(found.values())


def write(path: Path, tokenizer: Any, count: int, length: int = 0) -> list[Sum]:
    """Write at most `count` sums as prepared questions for a model with byte tokens, and return them.

    A demonstration shorter than `length` characters is repeated until it is that long.
    """
    sums = [_lengthened(one, length) for one in sample(count)]
    rows = [
        {
            "question_id": one.question,
            "question": one.question,
            "gold": str(one.total),
            "kind": "math",
            "family": "sum",
            "prompt_tokens": len(tokenizer(prompt(one)).input_ids),
            "demonstration": one.demonstration,
            "demonstration_tokens": len(one.demonstration) + 1,
            "demonstration_verdict": "correct",
        }
        for one in sums
    ]
    write_parquet(path, pa.Table.from_pylist(rows, schema=schemas.PREPARED))
    return sums


def _lengthened(one: Sum, length: int) -> Sum:
    times = max(1, -(-length // (len(one.demonstration) + 1)))
    return one._replace(demonstration=" ".join([one.demonstration] * times))
