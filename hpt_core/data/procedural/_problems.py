"""Problem sets: distinct instances of chosen families, difficulties and split."""

from collections.abc import Iterator, Sequence
from itertools import cycle, islice, product
from random import Random

from hpt_core.data.procedural.base import Family, Problem, Split
from hpt_core.errors import DataError
from hpt_core.seeds import derive

_ATTEMPTS = 10_000
"""Draws in a row without a new instance after which a family counts as exhausted."""


def sample(
    families: Sequence[Family], difficulties: Sequence[int], rows: int, seed: int, split: Split
) -> list[Problem]:
    """`rows` different problems: families take turns, and within a family its difficulties do.

    A difficulty may be given more than once, to come up more often. Fewer rows with the same seed are the first ones of
    more. Raises DataError where a family has too few instances.
    """
    used: set[str] = set()
    streams = {
        (family.name, difficulty): stream(family, difficulty, seed, split, used)
        for family, difficulty in product(families, set(difficulties))
    }
    turns = cycle((family.name, difficulty) for difficulty in difficulties for family in families)
    return [next(streams[turn]) for turn in islice(turns, rows)]


def stream(family: Family, difficulty: int, seed: int, split: Split, used: set[str]) -> Iterator[Problem]:
    """New instances without end, their keys put into `used`; raises DataError where they run out."""
    rng = Random(derive(seed, "procedural", family.name, difficulty))
    while True:
        for _ in range(_ATTEMPTS):
            problem = family.generate(rng, difficulty)
            if problem.split == split and problem.key not in used:
                break
        else:
            raise DataError(
                f"family {family.name!r} has no more instances of difficulty {difficulty} in the split {split!r}",
                "ask for fewer rows or for other difficulties",
            )
        used.add(problem.key)
        yield problem
