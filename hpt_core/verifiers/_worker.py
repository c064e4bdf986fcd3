"""What runs in a verifier process: limits, then comparisons."""

import ctypes
import os
import resource
import signal
from collections.abc import Sequence
from pathlib import Path

from hpt_core.verifiers.base import Judgment, Outcome, Verifier

LONGEST_SHOWN = 1000
"""Characters of an extracted answer that a verdict keeps."""
_PR_SET_PDEATHSIG = 1


def clipped(answer: str) -> str:
    """The answer as a verdict keeps it: cut where it is absurdly long, and fit for UTF-8."""
    shown = answer if len(answer) <= LONGEST_SHOWN else answer[:LONGEST_SHOWN] + "…"
    return shown.encode("utf-8", "replace").decode("utf-8")


def initialize(memory_mib: int) -> None:
    """Bound this process's address space, and tie its life to that of the server it was forked from."""
    resource.setrlimit(resource.RLIMIT_AS, (memory_mib << 20, memory_mib << 20))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    # A handler written in Python would wait for the C call it is to interrupt.
    signal.signal(signal.SIGTERM, signal.SIG_DFL)


def judge(comparisons: Sequence[tuple[Verifier, str, str | None, str]], cpu_s: float) -> list[Outcome | Judgment]:
    """What each (verifier, gold, answer, question) comes to, each within `cpu_s` CPU seconds, past which the kernel
    ends this process."""
    outcomes: list[Outcome | Judgment] = []
    for verifier, gold, answer, question in comparisons:
        _leave_if_full()
        signal.setitimer(signal.ITIMER_PROF, cpu_s)
        try:
            outcomes.append(verifier.judge(gold, answer, question))
        except Exception:  # no answer may end a grading, whatever a parser makes of it
            outcomes.append(Outcome.CRASH)
        finally:
            signal.setitimer(signal.ITIMER_PROF, 0.0)
    return outcomes


def _leave_if_full() -> None:
    """End this process where earlier comparisons have left less than half of its address space: what they left must
    not decide about others. The comparison is redone in a fresh process."""
    limit, _ = resource.getrlimit(resource.RLIMIT_AS)
    used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    if limit != resource.RLIM_INFINITY and used > limit / 2:
        os._exit(os.EX_TEMPFAIL)
