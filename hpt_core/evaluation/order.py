"""In which order samples are generated: one queue over all benchmarks, the longest expected first.

What is begun last should be short, or the engine ends with a few long responses and the rest of its slots empty. How
long a benchmark's responses are shows only as they finish, so one question of each is sampled first; from then on the
next question comes from the benchmark whose responses are expected to be longest. The samples of a question stay
together: its prompt is then read once for all of them.
"""

from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

Missing = tuple[int, tuple[int, ...]]
"""(number of a question, the sample indices to sample)."""


class Ask(NamedTuple):
    """A sample to generate."""

    unit: int
    question: int
    sample_index: int


class Lengths:
    """How many tokens a benchmark's responses have, as far as they have finished."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._total = 0
        self._count = 0

    def add(self, tokens: int) -> None:
        """A response of so many tokens has finished."""
        self._total += tokens
        self._count += 1

    @property
    def expected(self) -> float:
        """Tokens of the next response: the mean so far, with one response at the limit counted in. A benchmark of which
        little is known is thus taken for a long one, and soon known."""
        return (self._total + self._limit) / (self._count + 1)

    @property
    def mean(self) -> float:
        """Tokens of the responses so far, in the mean; the limit where there is none."""
        return self._total / self._count if self._count else float(self._limit)


class Queue:
    """What is left to generate, an iterator: each next sample is chosen when it is asked for.

    The order changes no sample: a sample's seed depends on its question and index alone.
    """

    def __init__(self, missing: Sequence[Iterable[Missing]], lengths: Sequence[Lengths]) -> None:
        self._waiting = [deque(m) for m in missing]
        self._lengths = lengths
        self._left = [sum(len(indices) for _, indices in waiting) for waiting in self._waiting]
        self._scouts = deque(unit for unit, waiting in enumerate(self._waiting) if waiting)

    def __iter__(self) -> Iterator[Ask]:
        while (unit := self._next_unit()) is not None:
            question, indices = self._waiting[unit].popleft()
            for index in indices:
                yield Ask(unit, question, index)

    def finished(self, ask: Ask, tokens: int) -> None:
        """A sample has finished with so many tokens."""
        self._lengths[ask.unit].add(tokens)
        self._left[ask.unit] -= 1

    @property
    def tokens_left(self) -> float:
        """Tokens that are expected of all that has not finished."""
        return sum(count * lengths.mean for count, lengths in zip(self._left, self._lengths, strict=True))

    def _next_unit(self) -> int | None:
        if self._scouts:
            return self._scouts.popleft()
        waiting = [unit for unit, questions in enumerate(self._waiting) if questions]
        return max(waiting, key=lambda unit: self._lengths[unit].expected) if waiting else None
