"""Whole: one operation of the chain covers the whole string (`m15`), which happens in no other family."""

from random import Random

from hpt_core.data.procedural._kinds import OPERATIONS
from hpt_core.data.procedural.base import WIDTH, Family, Operation, Problem, draw_places, write_chain


class Whole(Family):
    """Chains of one of the six kinds; `difficulty` is the number of operations."""

    def generate(self, rng: Random, difficulty: int) -> Problem:
        """A random chain."""

        def draw() -> list[tuple[Operation, int, int]]:
            kind, whole = rng.choice(OPERATIONS), rng.randrange(difficulty)
            return [(kind, *((1, WIDTH) if i == whole else draw_places(rng))) for i in range(difficulty)]

        return write_chain(self.name, rng, draw)


FAMILY = Whole()
