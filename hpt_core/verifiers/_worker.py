"""Code that runs in a verifier process: set limits, then compare."""

import ctypes
import os
import resource
import signal
from collections.abc import Sequence
from pathlib import Path

from hpt_core.verifiers.base import Judgment, Outcome, Verifier, shortened

LONGEST_SHOWN = 1000
"""Maximum characters of an extracted answer in a verdict."""
_PR_SET_PDEATHSIG = 1


def clipped(answer: str) -> str:
    """The answer as stored in a verdict: cut if it is very long, and valid UTF-8."""
    return shortened(answer, LONGEST_SHOWN).encode("utf-8", "replace").decode("utf-8")


def initialize(memory_mib: int) -> None:
    """Limit this process's address space, and end it when the server that forked it ends."""
    resource.setrlimit(resource.RLIMIT_AS, (memory_mib << 20, memory_mib << 20))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    # A Python handler would wait for the very C call that it should interrupt.
    signal.signal(signal.SIGTERM, signal.SIG_DFL)


def judge(comparisons: Sequence[tuple[Verifier, str, str | None, str]], cpu_s: float) -> list[Outcome | Judgment]:
    """The outcome of each (verifier, gold, answer, question). After `cpu_s` CPU seconds on one, the kernel ends this
    process."""
    outcomes: list[Outcome | Judgment] = []
    for verifier, gold, answer, question in comparisons:
        _leave_if_full()
        signal.setitimer(signal.ITIMER_PROF, cpu_s)
        try:
            outcomes.append(verifier.judge(gold, answer, question))
        except Exception:  # a parser error on one answer must not end the grading
            outcomes.append(Outcome.CRASH)
        finally:
            signal.setitimer(signal.ITIMER_PROF, 0.0)
    return outcomes


def _leave_if_full() -> None:
    """End this process if more than half of its address space is in use, so that memory left by earlier comparisons
    does not affect later ones. The comparison is repeated in a fresh process."""
    limit, _ = resource.getrlimit(resource.RLIMIT_AS)
    used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    if limit != resource.RLIM_INFINITY and used > limit / 2:
        os._exit(os.EX_TEMPFAIL)
