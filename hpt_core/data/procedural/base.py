"""The contract of a problem family, and the type that most families share: chains of operations on a string of digits.

A chain problem reads `m13 m24 42718`: take 42718 and apply the operations in order. An operation is a letter or a sign
and the first and last position that it changes, counted from 1. The worked solution lists each operation with the
string that results, then the boxed answer:

    m13 68318
    m24 62798
    \\boxed{62798}

Digits run from 1 to 9 in a circle (after 9 comes 1). Without zeros, two different strings are always different numbers,
so a verifier that compares numbers rejects every wrong string.
"""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from random import Random
from typing import Literal, NamedTuple

from hpt_core.plugins import Plugin

Split = Literal["pretrain", "train", "test"]
"""Disjoint parts of every family's instances: for pretraining a base model, for post-training and for testing."""

DIGITS = "123456789"
WIDTH = 5
"""Digits of a chain problem's string."""


class Problem(NamedTuple):
    """One instance of a family."""

    family: str
    difficulty: int
    question: str
    solution: str
    """Every step, then the answer in \\boxed{}."""
    answer: str

    @property
    def key(self) -> str:
        """Hexadecimal SHA-256 of the instance. It alone decides the split, so no instance is in two splits."""
        return hashlib.sha256(self.question.encode()).hexdigest()

    @property
    def split(self) -> Split:
        """Six tenths of all instances are for pretraining, two tenths for training, two tenths for tests."""
        bucket = int(self.key[:8], 16) % 10
        return "test" if bucket < 2 else "train" if bucket < 4 else "pretrain"


class Family(Plugin, kind="families", package="hpt_core.data.procedural"):
    """A kind of problem."""

    @property
    def name(self) -> str:
        """The family's name in configs and problems."""
        return self.reference

    def generate(self, rng: Random, difficulty: int) -> Problem:
        """A random instance; `difficulty` counts from 1."""
        raise NotImplementedError


@dataclass(frozen=True, slots=True)
class Operation:
    """One kind of operation."""

    symbol: str
    """The character that stands for it in a problem."""
    act: Callable[[list[int]], list[int]]
    """Maps the digits between its two positions (both included) to as many new digits, each from 1 to 9."""

    def apply(self, first: int, last: int, digits: str) -> str:
        """`digits` after the operation on the positions `first` to `last`, counted from 1."""
        inside = self.act([int(digit) for digit in digits[first - 1 : last]])
        return digits[: first - 1] + "".join(map(str, inside)) + digits[last:]


@dataclass(frozen=True, eq=False)
class Chain(Family):
    """A family of chains of the given operations; `difficulty` is the number of operations.

    No operation covers the whole string: only the family `whole` has such operations.
    """

    operations: tuple[Operation, ...]

    def generate(self, rng: Random, difficulty: int) -> Problem:
        """A random chain."""
        return write_chain(
            self.name, rng, lambda: [(rng.choice(self.operations), *draw_places(rng)) for _ in range(difficulty)]
        )


def draw_places(rng: Random) -> tuple[int, int]:
    """Two random positions, the first before the last, that do not cover the whole string."""
    while True:
        first, last = sorted(rng.sample(range(1, WIDTH + 1), 2))
        if (first, last) != (1, WIDTH):
            return first, last


def write_chain(family: str, rng: Random, draw: Callable[[], list[tuple[Operation, int, int]]]) -> Problem:
    """A problem from a random string and random operations with their positions.

    A chain that ends at its starting string is generated again, because its answer would appear in the question.
    """
    while True:
        start = state = "".join(rng.choice(DIGITS) for _ in range(WIDTH))
        written, steps = [], []
        for operation, first, last in draw():
            state = operation.apply(first, last, state)
            written.append(f"{operation.symbol}{first}{last}")
            steps.append(f"{written[-1]} {state}")
        if state != start:
            question = " ".join([*written, start])
            solution = "\n".join([*steps, f"\\boxed{{{state}}}"])
            return Problem(family, len(steps), question, solution, state)


def circle(number: int) -> int:
    """`number` on the circle of 1 to 9."""
    return (number - 1) % 9 + 1
