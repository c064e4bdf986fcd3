"""Grades single answers, for scripts and notebooks: `hpt.grade(gold, response)`."""

import atexit
import threading

from hpt_core.verifiers.base import Outcome, Verdict, Verifier
from hpt_core.verifiers.pool import Item, VerifierPool

_LOCK = threading.Lock()
_POOLS: list[VerifierPool] = []


def grade(gold: str, response: str, kind: str | Verifier = "math", question: str = "") -> Verdict:
    """The verdict on a response: outcome, extracted answer, reward.

    `kind` is a verifier's name, import path or instance. `question` is the question's text, which contains the options
    of a choice. The answer is compared in another process, which is killed after five CPU seconds. The first call
    starts that process, which takes about a second. For many answers use `hpt.VerifierPool`. Raises ConfigError for an
    unknown verifier, and for one whose class is in the script or notebook itself: the other process cannot import it.
    """
    (verdict,) = _pool().verify([Item(kind, gold, response, question)])
    return verdict


def gold_fault(kind: str, gold: str, question: str) -> str:
    """Why a gold answer cannot be read; "" if it can, or if that took too long. Verdicts do not hold it, because it
    follows from the question alone. Raises ConfigError for an unknown verifier."""
    verdict = grade(gold, "", kind, question)
    return verdict.reason if verdict.outcome is Outcome.GOLD_ERROR else ""


def _pool() -> VerifierPool:
    with _LOCK:
        if not _POOLS:
            _POOLS.append(VerifierPool(1))
            atexit.register(_close)
        return _POOLS[0]


def _close() -> None:
    while _POOLS:
        _POOLS.pop().close()
