"""One answer at a time, for scripts and notebooks: `hpt.grade(gold, response)`."""

import atexit
import threading

from hpt_core.verifiers.base import Verdict, Verifier
from hpt_core.verifiers.pool import Item, VerifierPool

_LOCK = threading.Lock()
_POOLS: list[VerifierPool] = []


def grade(gold: str, response: str, kind: str | Verifier = "math", question: str = "") -> Verdict:
    """The verdict on a response: outcome, extracted answer, reward.

    `kind` is a verifier's name, import path or instance; `question` is the question's text, in which the options of a
    choice stand. The answer is compared in another process, which is killed where it takes longer than five CPU
    seconds; the first call starts it, in about a second. For many answers use `hpt.VerifierPool`. Raises ConfigError
    for an unknown verifier.
    """
    (verdict,) = _pool().verify([Item(kind, gold, response, question)])
    return verdict


def _pool() -> VerifierPool:
    with _LOCK:
        if not _POOLS:
            _POOLS.append(VerifierPool(1))
            atexit.register(_close)
        return _POOLS[0]


def _close() -> None:
    while _POOLS:
        _POOLS.pop().close()
