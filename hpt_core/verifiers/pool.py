"""A pool of killable processes that verify answers, shared by training, data preparation and evaluation."""

import logging
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import CancelledError, Future
from concurrent.futures.process import BrokenProcessPool
from multiprocessing.context import ForkServerContext, ForkServerProcess
from multiprocessing.process import BaseProcess
from types import ModuleType, TracebackType
from typing import Any, NamedTuple, Self

from pebble import ProcessExpired, ProcessPool

from hpt_core.errors import VerifierError
from hpt_core.plugins import reference_of
from hpt_core.verifiers import _worker, get
from hpt_core.verifiers.base import Judgment, Outcome, Verdict, Verifier

logger = logging.getLogger("hpt.verifiers")


class Item(NamedTuple):
    """A response to verify."""

    verifier: str | Verifier
    """A verifier's name, or an instance with its own settings."""
    gold: str
    response: str
    question: str = ""
    """The question's text, which contains the options of a choice. "" if it is unknown."""

    @property
    def resolved(self) -> Verifier:
        """The verifier instance. Raises ConfigError for an unknown name, and for a class that the worker processes
        cannot import."""
        if isinstance(self.verifier, str):
            return get(self.verifier)
        reference_of(type(self.verifier))  # raises
        return self.verifier


Bare = tuple[str, str, str]
"""(verifier, gold, response) of an item whose question is unknown."""

CHUNK = 16
"""Comparisons sent to a worker at once."""
CHUNK_CPU_S = 1.0
"""CPU seconds per comparison within a chunk. If one takes longer, the chunk is repeated one by one."""
WALL_FACTOR = 6.0
"""Wall-clock limit of a task as a multiple of its CPU limit, for processes that wait and for busy machines."""
CRASHES = 2
"""Maximum attempts at a comparison that crashes its process."""
POOL_FAILURES = 3
"""Maximum attempts at a task that is interrupted by a broken pool."""


class Comparison(NamedTuple):
    """The inputs that decide a verdict. Responses with equal inputs are compared once."""

    verifier: Verifier
    gold: str
    answer: str | None
    question: str
    """ "" if the verifier does not read the question."""

    @classmethod
    def of(cls, item: Item) -> "Comparison":
        """The comparison of an item. Raises ConfigError as `Item.resolved` does."""
        verifier = item.resolved
        question = item.question if verifier.reads_question else ""
        return cls(verifier, item.gold, verifier.extract(item.response, question), question)


class Pending:
    """Verdicts that are computed while the caller continues."""

    def __init__(self, pool: "VerifierPool", order: list[Comparison]) -> None:
        self._pool = pool
        self._order = order
        unique = list(dict.fromkeys(order))
        self._chunks = [unique[i : i + CHUNK] for i in range(0, len(unique), CHUNK)]
        self._futures = [pool._schedule(chunk, CHUNK_CPU_S) for chunk in self._chunks]

    def done(self) -> bool:
        """Whether the first pass is finished. `result` may still repeat slow answers one by one."""
        return all(future.done() for future in self._futures)

    def result(self, progress: Callable[[int, int], None] | None = None) -> list[Verdict]:
        """Wait for the verdicts, in the items' order; `progress(done, total)` counts distinct answers.

        Raises VerifierError if the pool cannot work at all. A failure on a single answer is that answer's verdict.
        """
        outcomes: dict[Comparison, Outcome | Judgment] = {}
        total = sum(len(chunk) for chunk in self._chunks)
        for chunk, future in zip(self._chunks, self._futures, strict=True):
            try:
                found = zip(chunk, future.result(), strict=True)
                # A crash may be caused by memory that earlier comparisons left behind, so repeat it alone.
                outcomes.update({c: self._pool._alone(c) if o is Outcome.CRASH else o for c, o in found})
            except VerifierError:
                raise
            except Exception as error:
                logger.debug("repeating a chunk of %d comparisons one by one: %r", len(chunk), error)
                outcomes.update({comparison: self._pool._alone(comparison) for comparison in chunk})
            if progress is not None:
                progress(len(outcomes), total)
        return [_verdict(c, outcomes[c]) for c in self._order]


def _verdict(comparison: Comparison, found: Outcome | Judgment) -> Verdict:
    answer = None if comparison.answer is None else _worker.clipped(comparison.answer)
    try:
        return comparison.verifier.verdict(found, answer)
    except ValueError as error:
        raise VerifierError(str(error), "correct the verifier's judge, or its reward_range") from error


class VerifierPool:
    """Verifies answers in `workers` processes, which are killed when an answer takes too long.

    timeout_s: CPU seconds per answer, enforced by the kernel, so a busy machine changes no outcome. A wall-clock limit
    of six times that ends processes that wait. memory_mib: address space of one worker. An answer that fails in its
    chunk is repeated alone. It is a TIMEOUT if it then exceeds the time limit, and a CRASH if it twice ends its process
    or runs out of memory. Neither counts as correct. The pool may be used from several threads at once. Workers start
    with the pool and end with it or with this process.
    """

    def __init__(self, workers: int, timeout_s: float = 5.0, memory_mib: int = 2048) -> None:
        self.workers = workers
        self.timeout_s = timeout_s
        self.memory_mib = memory_mib
        self._lock = threading.Lock()
        self._closed = False
        self._pool = self._start()

    def verify(self, items: Iterable[Item | Bare], progress: Callable[[int, int], None] | None = None) -> list[Verdict]:
        """Verdicts on (verifier, gold, response[, question]), in order. Raises ConfigError and VerifierError."""
        return self.submit(items).result(progress)

    def submit(self, items: Iterable[Item | Bare]) -> Pending:
        """Start verifying (verifier, gold, response[, question]) and return at once. `result()` waits for the
        verdicts."""
        return Pending(self, [Comparison.of(Item(*item)) for item in items])

    def close(self) -> None:
        """End the workers, even while they are busy."""
        with self._lock:
            if self._closed:
                return
            self._closed = True
            self._pool.stop()
            self._pool.join()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _start(self) -> ProcessPool:
        _open_standard_streams()
        context = _Context()
        # The server that forks the workers imports and warms the graders once, so replacing a killed worker is cheap.
        context.set_forkserver_preload(["hpt_core.verifiers._warm"])
        pool = ProcessPool(
            max_workers=self.workers, initializer=_worker.initialize, initargs=(self.memory_mib,), context=context
        )
        pool.schedule(_worker.judge, args=([], 1.0))  # pebble starts its workers with the first task
        return pool

    def _schedule(self, comparisons: Sequence[Comparison], cpu_s: float) -> "Future[list[Outcome | Judgment]]":
        task = [tuple(comparison) for comparison in comparisons]
        with self._lock:
            if self._closed:
                raise VerifierError("the verifier pool is closed", "verify within its `with` block")
            for _ in range(POOL_FAILURES):
                try:
                    future: Future[list[Outcome | Judgment]] = self._pool.schedule(
                        _worker.judge, args=(task, cpu_s), timeout=self.timeout_s * WALL_FACTOR
                    )
                    return future
                except (RuntimeError, BrokenProcessPool) as error:
                    logger.warning("the verifier pool broke and is restarted: %r", error)
                    self._pool = self._start()
        raise VerifierError("the verifier processes cannot be started", "run `hpt doctor`")

    def _alone(self, comparison: Comparison) -> Outcome | Judgment:
        """Run one comparison in its own task, with the full limit."""
        crashes = broken = 0
        while True:
            try:
                return self._schedule([comparison], self.timeout_s).result()[0]
            except TimeoutError:
                return Outcome.TIMEOUT
            except ProcessExpired as error:
                if error.exitcode == -signal.SIGPROF:
                    return Outcome.TIMEOUT
                crashes += 1
                logger.warning("a verifier process died (exit code %s) on %.200r", error.exitcode, comparison)
                if crashes >= CRASHES:
                    return Outcome.CRASH
            except (BrokenProcessPool, CancelledError) as error:
                broken += 1
                if broken >= POOL_FAILURES:
                    raise VerifierError(f"the verifier processes keep ending: {error!r}", "run `hpt doctor`") from error


_MAIN_LOCK = threading.Lock()


class _Process(ForkServerProcess):
    """A process that does not import the main script. Grading does not need it, and a script without `if __name__ ==
    "__main__":` would start pools endlessly."""

    @staticmethod
    def _Popen(process_obj: BaseProcess) -> Any:
        from multiprocessing.popen_forkserver import Popen

        with _MAIN_LOCK:
            main = sys.modules["__main__"]
            sys.modules["__main__"] = ModuleType("__main__")
            try:
                return Popen(process_obj)
            finally:
                sys.modules["__main__"] = main


class _Context(ForkServerContext):
    Process = _Process


def _open_standard_streams() -> None:
    """Open /dev/null for closed standard streams. Otherwise a worker would close a pipe that got their descriptor."""
    while (descriptor := os.open(os.devnull, os.O_RDWR)) <= 2:
        os.set_inheritable(descriptor, True)
    os.close(descriptor)
