"""How long the rest of a run takes, from the stages' progress and from the manifests of earlier artifacts."""

import time

from flows.display import StageLine
from flows.durations import durations
from flows.run import Run
from tasks.execution.context import Notice

ENDED = ("made", "reused", "failed", "skipped")


class Outlook:
    """Remaining time of a run's stages. One thread at a time may use it."""

    def __init__(self, run: Run) -> None:
        self._expected = expected(run)
        self.lines: dict[str, StageLine] = {}

    def take(self, notice: Notice) -> StageLine:
        """Record a notice. Returns the state of its stage."""
        line = self.lines.setdefault(notice.stage, StageLine())
        line.take(notice, time.monotonic())
        return line

    def left(self) -> float | None:
        """Seconds until the last stage ends; None while a stage's time is unknown.

        Stages that run at the same time are added up, so the result may be too large.
        """
        total, now = 0.0, time.monotonic()
        for stage, before in self._expected.items():
            line = self.lines.get(stage)
            notice = line.notice if line else None
            if notice is not None and notice.what in ENDED:
                continue
            own = line.left(now) if line else None
            if own is None:
                if before is None:
                    return None
                spent = now - line.began if line and line.began is not None else 0.0
                own = max(0.0, before - spent)
            total += own
        return total


def expected(run: Run) -> dict[str, float | None]:
    """Stage to run -> seconds that it will take; None if that of an artifact is unknown."""
    found: dict[str, float | None] = {}
    for key, duration in durations(run.plan, run.context).items():
        before = found.get(str(key.stage), 0.0)
        found[str(key.stage)] = None if duration is None or before is None else before + duration.seconds
    return found
