"""What Prefect shows of a run in progress: log lines with progress and remaining time, warnings, progress artifacts.

The threads that run stages and read their workers' output only take notes here. Another thread talks to the server,
which may be slow or away.
"""

import contextlib
import contextvars
import logging
import threading
from collections.abc import Iterator
from uuid import UUID

from prefect import get_run_logger
from prefect.artifacts import create_progress_artifact, update_progress_artifact

from flows.display import StageLine, clock
from flows.outlook import ENDED, Outlook
from flows.run import Run
from flows.server import FORWARDED
from tasks.execution.context import Notice, Throttle, subscribe

LOG = logging.getLogger("hpt.flows")
LINES_EVERY_S = 60.0
"""Minimum seconds between two log lines about a stage's progress."""
ARTIFACTS_EVERY_S = 5.0
"""Minimum seconds between updates of a progress artifact."""
LEAVE_AFTER_S = 5.0
"""Seconds that a finished run waits for the last updates of artifacts."""


class Reporter(logging.Handler):
    """Observes a flow run. A logging handler, because warnings of every module belong to the flow run's log."""

    def __init__(self, run: Run) -> None:
        super().__init__(logging.WARNING)
        self._logger = get_run_logger()
        self._outlook = Outlook(run)
        self._throttles: dict[str, Throttle] = {}
        self._artifacts: dict[str, _Artifact] = {}
        self._waiting: dict[str, tuple[Notice, str]] = {}
        """Stage -> the latest progress that is not yet in its artifact."""
        self._guard = threading.Lock()
        self._done = threading.Event()

    @contextlib.contextmanager
    def observing(self) -> Iterator[None]:
        """Report notices and warnings while the block runs."""
        unsubscribe = subscribe(self._take)
        hpt = logging.getLogger("hpt")
        hpt.addHandler(self)
        # The artifacts belong to the flow run.
        thread = threading.Thread(
            target=contextvars.copy_context().run, args=(self._update,), name="progress", daemon=True
        )
        thread.start()
        try:
            yield
        finally:
            unsubscribe()
            hpt.removeHandler(self)
            self._done.set()
            thread.join(LEAVE_AFTER_S)

    def emit(self, record: logging.LogRecord) -> None:
        """Copy a record into the flow run's log."""
        self._logger.log(record.levelno, "%s", record.getMessage(), extra={FORWARDED: True})

    def _take(self, notice: Notice) -> None:
        with self._guard:
            before = self._outlook.lines.get(notice.stage)
            is_new = before is None or before.notice is None or before.notice.what != notice.what
            line = self._outlook.take(notice)
            text = self._told(notice, line)
            due = self._throttles.setdefault(notice.stage, Throttle(LINES_EVERY_S)).due()
            if notice.what == "progress" and notice.total:
                self._waiting[notice.stage] = notice, text
        # A reused stage has a line of its own in the log of its task.
        if due if notice.what == "progress" else is_new and notice.what not in ("started", "reused", "warned"):
            self._logger.info("%s", text, extra={FORWARDED: True})

    def _told(self, notice: Notice, line: StageLine) -> str:
        """A notice as one line: "train.hpt: 12/100 steps, 3:07 min left, pipeline 5:20 min left, reward 0.31"."""
        if notice.what in ENDED:
            took = f" in {clock(line.took)}" if notice.what == "made" else ""
            word = "done" if notice.what == "made" else notice.what
            return f"{notice.stage}: {word}{took}" + (f": {notice.text}" if notice.text else "")
        parts = [f"{notice.done}/{notice.total} {notice.unit}".strip()] if notice.total else []
        left, whole = line.left(line.taken), self._outlook.left()
        parts += [f"{clock(left)} left"] if left is not None else []
        parts += [f"pipeline {clock(whole)} left"] if whole is not None else []
        parts += [line.text] if line.text else []
        return f"{notice.stage}: {', '.join(parts) or notice.what}"

    def _update(self) -> None:
        finished = False
        while not finished:
            finished = self._done.wait(ARTIFACTS_EVERY_S)
            with self._guard:
                waiting, self._waiting = self._waiting, {}
            for stage, (notice, text) in waiting.items():
                try:
                    self._artifacts.setdefault(stage, _Artifact(stage)).show(notice, text)
                except Exception as error:
                    LOG.debug("progress could not be shown: %s", error)


class _Artifact:
    """A stage's progress artifact, created at its first progress; its description is the latest line."""

    def __init__(self, stage: str) -> None:
        self._key = "progress-" + "".join(c if c.isalnum() else "-" for c in stage.lower())
        self._id: UUID | None = None

    def show(self, notice: Notice, text: str) -> None:
        percent = 100.0 * min(1.0, notice.done / notice.total)
        if self._id is None:
            found = create_progress_artifact(progress=percent, key=self._key, description=text)
            self._id = found if isinstance(found, UUID) else None
        else:
            update_progress_artifact(artifact_id=self._id, progress=percent, description=text)
