"""Whole: one operation of a chain, such as `m15`, works on the whole string, which it does in no other family."""

from dataclasses import dataclass
from random import Random

from hpt_core.data.procedural._kinds import OPERATIONS
from hpt_core.data.procedural.base import WIDTH, Operation, Problem, draw_places, write_chain


@dataclass(frozen=True, slots=True)
class Whole:
    """Chains of one of the six kinds; `difficulty` is the number of operations."""

    name: str
    version: int

    def generate(self, rng: Random, difficulty: int) -> Problem:
        """A random chain."""

        def draw() -> list[tuple[Operation, int, int]]:
            kind, whole = rng.choice(OPERATIONS), rng.randrange(difficulty)
            return [(kind, *((1, WIDTH) if i == whole else draw_places(rng))) for i in range(difficulty)]

        return write_chain(self.name, rng, draw)


FAMILY = Whole("whole", 1)
