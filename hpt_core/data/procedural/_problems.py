"""Problem sets: distinct instances of the chosen families, difficulties and split."""

from collections.abc import Iterator, Sequence
from itertools import cycle, islice, product
from random import Random

from hpt_core.data.procedural.base import Family, Problem, Split
from hpt_core.errors import DataError
from hpt_core.seeds import derive

_ATTEMPTS = 10_000
"""A family counts as exhausted after this many consecutive attempts without a new instance."""


def sample(
    families: Sequence[Family], difficulties: Sequence[int], rows: int, seed: int, split: Split
) -> list[Problem]:
    """`rows` distinct problems. Families alternate, and within a family its difficulties alternate.

    Repeat a difficulty to get more of it. With the same seed, fewer rows are a prefix of more rows. Raises DataError
    if a family has too few instances.
    """
    used: set[str] = set()
    streams = {
        (family.name, difficulty): stream(family, difficulty, seed, split, used)
        for family, difficulty in product(families, set(difficulties))
    }
    turns = cycle((family.name, difficulty) for difficulty in difficulties for family in families)
    return [next(streams[turn]) for turn in islice(turns, rows)]


def stream(family: Family, difficulty: int, seed: int, split: Split, used: set[str]) -> Iterator[Problem]:
    """An endless stream of new instances whose keys are added to `used`. Raises DataError if they run out."""
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
