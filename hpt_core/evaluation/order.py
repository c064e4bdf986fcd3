"""The order in which samples are generated: one queue over all benchmarks, longest expected responses first.

The last samples to start should be short; otherwise the engine ends with a few long responses and mostly empty slots. A
benchmark's response length is known only once responses finish, so one question of each benchmark is sampled first.
Then the next question comes from the benchmark with the longest expected responses. The samples of a question stay
together, so its prompt is processed once for all of them.
"""

from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

Missing = tuple[int, tuple[int, ...]]
"""(number of a question, the sample indices to generate)."""


class Ask(NamedTuple):
    """A sample to generate."""

    unit: int
    question: int
    sample_index: int


class Lengths:
    """Running mean of a benchmark's response lengths, in tokens."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._total = 0
        self._count = 0

    def add(self, tokens: int) -> None:
        """Add the length of a finished response."""
        self._total += tokens
        self._count += 1

    @property
    def expected(self) -> float:
        """Expected tokens of the next response: the mean so far, with one response at the limit added. So a benchmark
        with few finished responses counts as long and is sampled early."""
        return (self._total + self._limit) / (self._count + 1)

    @property
    def mean(self) -> float:
        """Mean tokens of the finished responses; the limit if there are none."""
        return self._total / self._count if self._count else float(self._limit)


class Queue:
    """An iterator over the samples still to generate. Each one is chosen when it is requested.

    The order changes no sample, because a sample's seed depends only on its question and index.
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
        """Record that a sample has finished with `tokens` tokens."""
        self._lengths[ask.unit].add(tokens)
        self._left[ask.unit] -= 1

    @property
    def tokens_left(self) -> float:
        """Expected tokens of all unfinished samples."""
        return sum(count * lengths.mean for count, lengths in zip(self._left, self._lengths, strict=True))

    def _next_unit(self) -> int | None:
        if self._scouts:
            return self._scouts.popleft()
        waiting = [unit for unit, questions in enumerate(self._waiting) if questions]
        return max(waiting, key=lambda unit: self._lengths[unit].expected) if waiting else None
