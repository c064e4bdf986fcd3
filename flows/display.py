"""Progress display: a live table on a terminal, throttled plain lines elsewhere, records if logs are JSON."""

import logging
import time
from collections import deque
from collections.abc import Iterable
from types import TracebackType

from rich.console import Console
from rich.live import Live
from rich.markup import escape
from rich.table import Table

from hpt_core import logs
from tasks.execution.context import Notice, Throttle, subscribe

LOG = logging.getLogger("hpt.progress")

PLAIN_EVERY_S = 15.0
"""Seconds between two progress lines of a stage if no terminal is attached."""

STYLES = {
    "started": "cyan",
    "waiting": "yellow",
    "progress": "cyan",
    "made": "green",
    "reused": "dim",
    "failed": "red",
    "skipped": "yellow",
}
STATES = {
    "done": "green",
    "blocked": "red",
    "damaged": "red",
    "failed": "red",
    "died": "red",
    "running": "cyan",
    "in part": "yellow",
    "started": "yellow",
    "interrupted": "yellow",
}
WORDS = {"started": "running", "progress": "running", "made": "done", "reused": "reused"}
RECENT = 20
"""Number of latest progress updates used to estimate the remaining time; the time per step may drift."""


class Pace:
    """Estimates a stage's remaining time from its progress."""

    def __init__(self) -> None:
        self._points: deque[tuple[float, int]] = deque(maxlen=RECENT + 1)
        self._total = 0

    def take(self, now: float, done: int, total: int) -> None:
        """Record that `done` of `total` units were done at time `now`, in seconds of a monotonic clock."""
        if total != self._total or (self._points and done < self._points[-1][1]):
            # The count restarted, for example with the next model's samples.
            self._points.clear()
            self._total = total
        if not self._points or done > self._points[-1][1]:
            self._points.append((now, done))

    def left(self, now: float) -> float | None:
        """Remaining seconds; None before the second update and after the last.

        Units that a resumed stage found finished do not count toward its pace.
        """
        if len(self._points) < 2 or self._points[-1][1] >= self._total:
            return None
        (start, first), (last, done) = self._points[0], self._points[-1]
        each = (last - start) / (done - first)
        return max(0.0, each * (self._total - done) - (now - last))


class StageLine:
    """Display state of one stage."""

    def __init__(self) -> None:
        self.notice: Notice | None = None
        self.taken = 0.0
        """When the notice arrived."""
        self.began: float | None = None
        self.took: float | None = None
        self.throttle = Throttle(PLAIN_EVERY_S)
        self.pace = Pace()
        self.result = ""
        """The text of the last completed step; a step's reward stays visible while the next step runs."""

    def take(self, notice: Notice, now: float) -> None:
        """Record a notice."""
        before, self.notice, self.taken = self.notice, notice, now
        if self.began is None:
            self.began = now
        if notice.what == "progress" and notice.total:
            self.pace.take(now, notice.done, notice.total)
            if before is None or before.what != "progress" or before.total != notice.total or notice.done < before.done:
                self.result = ""
            elif notice.done > before.done:
                self.result = notice.text
        if notice.what in ("made", "reused", "failed"):
            self.took = now - self.began

    def left(self, now: float) -> float | None:
        """Remaining seconds: the worker's own estimate, else one from the stage's pace."""
        if self.notice is None or self.notice.left is None:
            return self.pace.left(now)
        return max(0.0, self.notice.left - (now - self.taken))

    @property
    def text(self) -> str:
        """The notice's text, preceded by the last step's text if that differs."""
        text = self.notice.text if self.notice else ""
        if not self.notice or self.notice.what != "progress" or text == self.result:
            return text
        return "; ".join(part for part in (self.result, text) if part)


class Display:
    """Context manager that shows the notices of a run."""

    def __init__(self, stages: Iterable[object], console: Console) -> None:
        self._lines = {str(key): StageLine() for key in stages}
        self._console = console
        self._live = (
            Live(self, console=console, refresh_per_second=4) if console.is_terminal and not logs.as_json() else None
        )

    def __enter__(self) -> "Display":
        self._unsubscribe = subscribe(self._take)
        if self._live:
            self._live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._unsubscribe()
        if self._live:
            self._live.stop()

    def _take(self, notice: Notice) -> None:
        line = self._lines.setdefault(notice.stage, StageLine())
        first = line.notice is None or line.notice.what != notice.what
        line.take(notice, time.monotonic())
        # "started" is not printed, so that a reused stage takes one line.
        if (
            self._live is None
            and notice.what != "started"
            and (line.throttle.due() or (first and notice.what != "progress"))
        ):
            if logs.as_json():
                with logs.about(stage=notice.stage):
                    LOG.info("%s", self._text(line))
            else:
                self._console.print(f"{time.strftime('%H:%M:%S')} {notice.stage}: {escape(self._text(line))}")

    def _text(self, line: StageLine) -> str:
        notice = line.notice
        if notice is None:
            return "waits"
        text = line.text
        if notice.total:
            count = f"{notice.done}/{notice.total}" + (f" {notice.unit}" if notice.unit else "")
            left = line.left(time.monotonic()) if notice.what == "progress" else None
            words = [count, *([f"{clock(left)} left"] if left is not None else []), *([text] if text else [])]
            text = "  ".join(words)
        if notice.what in ("started", "progress"):
            return text or "starting"
        took = f" in {clock(line.took)}" if line.took is not None and notice.what == "made" else ""
        word = WORDS.get(notice.what, notice.what) + took
        return f"{word}: {text}" if text else word

    def __rich__(self) -> Table:
        table = Table.grid(padding=(0, 2))
        # A copy: another thread may add a stage while this renders.
        for key, line in list(self._lines.items()):
            what = line.notice.what if line.notice else None
            style = STYLES.get(what or "", "dim")
            passed = "" if line.began is None else clock(line.took or time.monotonic() - line.began)
            table.add_row(f"[{style}]{key}[/]", passed, self._bar(line), escape(self._text(line)))
        return table

    @staticmethod
    def _bar(line: StageLine, width: int = 20) -> str:
        if not line.notice or line.notice.what != "progress" or not line.notice.total:
            return ""
        full = round(width * min(1.0, line.notice.done / line.notice.total))
        return f"[cyan]{'━' * full}[/][dim]{'━' * (width - full)}[/]"


def clock(seconds: float | None) -> str:
    """ "4 s", "3:07 min", "2:05 h"."""
    if seconds is None:
        return ""
    if seconds < 60:
        return f"{seconds:.0f} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes}:{rest:02d} min"
    return f"{minutes // 60}:{minutes % 60:02d} h"


def amount(count: float) -> str:
    """ "512 B", "3.2 GB"."""
    for unit in ("B", "kB", "MB", "GB"):
        if count < 1000:
            return f"{count:.0f} {unit}" if unit == "B" else f"{count:.1f} {unit}"
        count /= 1000
    return f"{count:.1f} TB"


def summed(values: Iterable[float | None]) -> str:
    """Sum of the values that are known, as "1.30", or ">1.30" if some are not; "" if there is nothing to sum."""
    every = list(values)
    known = [value for value in every if value is not None]
    total = sum(known)
    shown = f"{total:,.2f}" if total >= 0.1 else f"{total:.2g}"
    return f"{'>' * (len(known) < len(every))}{shown}" if total else ""


def styled(state: str) -> str:
    """The state of an artifact, a stage or a run, in its color."""
    return f"[{STATES[state]}]{state}[/]" if state in STATES else state
