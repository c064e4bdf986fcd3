"""The context that the stages of a run share: store, data folder, resources, what to rerun, and progress observers."""

import logging
import os
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal

from pydantic import BaseModel

from hpt_core.artifacts import Cost, KnownFiles, RunLog, Slot, Store
from hpt_core.paths import expand_named
from hpt_core.redact import redact
from hpt_core.trackers.base import TrackerConfig
from tasks.execution import process
from tasks.execution.keys import ArtifactKey, StageKey
from tasks.execution.resources import ResourcesConfig
from tasks.execution.selection import Selection

LOG = logging.getLogger("hpt.run")

What = Literal["warned", "started", "waiting", "progress", "made", "reused", "failed", "skipped"]


@dataclass(frozen=True)
class Notice:
    """A change in a stage's state or progress."""

    stage: str
    what: What
    text: str = ""
    done: int = 0
    total: int = 0
    unit: str = ""
    left: float | None = None
    """Remaining seconds as the worker estimates them; None without an estimate."""


Observer = Callable[[Notice], None]
_OBSERVERS: list[Observer] = []


def subscribe(observer: Observer) -> Callable[[], None]:
    """Call `observer` with every notice in this process. Returns a function that unsubscribes it."""
    _OBSERVERS.append(observer)
    return lambda: _OBSERVERS.remove(observer)


@dataclass(frozen=True)
class Context:
    """Shared by the stages of a run. Nothing in it affects an artifact's content."""

    store: Store
    known: KnownFiles
    data_dir: Path | None = None
    pipeline: str = ""
    """Name of the pipeline."""
    resources: ResourcesConfig = field(default_factory=ResourcesConfig)
    trackers: tuple[TrackerConfig, ...] = ()
    strict: bool = False
    """Stop at the first malformed row of training data."""
    verify: bool = False
    """Rehash every file before an artifact is reused."""
    rerun: Selection = Selection()  # noqa: RUF009  (immutable)
    """Artifacts to produce again even if the store holds them."""
    rerun_from: Selection = Selection()  # noqa: RUF009  (immutable)
    """Artifacts to produce again, with every artifact that is made from them, directly or through others."""
    skipped: frozenset[ArtifactKey] = frozenset()
    """Artifacts that the run leaves out if the store lacks them."""
    since: datetime = field(default_factory=lambda: datetime.now(UTC))
    """Artifacts started after this time are not produced again, so that a retry keeps what the run has finished."""
    log: RunLog | None = None
    """The record of the run; None for a stage that runs outside one."""
    turns: Path | None = None
    """Folder of the locks by which runs take turns on this machine's devices; None takes no turns."""
    cancelled: threading.Event = field(default_factory=threading.Event)
    staying: process.Staying = field(default_factory=process.Staying)
    """The worker that keeps its engine between two stages."""

    def notify(self, notice: Notice) -> None:
        """Call every observer. Secrets in the text are hidden."""
        if (text := redact(notice.text)) != notice.text:
            notice = replace(notice, text=text)
        for observer in tuple(_OBSERVERS):
            observer(notice)

    def worker(
        self,
        stage: StageKey,
        module: str,
        spec: BaseModel,
        slots: Sequence[Slot],
        threads: int | None = None,
        launcher: tuple[str, ...] = (),
        stays: bool = False,
        alone: bool = False,
    ) -> Cost:
        """Run a worker program for a stage. Its log is appended to each slot's log; observers receive its progress.

        `threads` is the number of threads per process; None uses the context's. With `stays`, the worker may be the
        one of an earlier stage, and may be used by a later one. `alone` ends such a worker first, because this one
        needs its memory.
        """

        def show(event: process.Event) -> None:
            if notice := as_notice(str(stage), event):
                self.notify(notice)

        job = self.job(stage, module, spec, slots, threads, launcher)
        if alone:
            self.staying.close()
        # Stages that run at the same time have workers of their own.
        run = self.staying.run if stays and self.resources.parallel_stages == 1 else process.run
        return run(job, show, self.cancelled)

    def job(
        self,
        stage: StageKey,
        module: str,
        spec: BaseModel,
        slots: Sequence[Slot],
        threads: int | None = None,
        launcher: tuple[str, ...] = (),
        name: str = "spec",
    ) -> process.WorkerRun:
        """The run of a worker program. `name` is its spec file's name, which must differ between workers of a stage."""
        threads = self.resources.threads if threads is None else threads
        return process.WorkerRun(
            stage=str(stage),
            module=module,
            spec=spec,
            spec_file=slots[0].folder / f"{name}.json",
            logs=[slot.log for slot in slots],
            timeout_s=self.resources.stage_timeout_s,
            environment={} if threads is None else {"OMP_NUM_THREADS": str(threads)},
            launcher=launcher,
        )


def as_notice(stage: str, event: process.Event) -> Notice | None:
    """Convert a worker's progress event to a notice; None for other events."""
    if event.get("event") != "progress":
        return None
    left = event.get("left")
    return Notice(
        stage,
        "progress",
        str(event.get("text", "")),
        int(event.get("done", 0)),
        int(event.get("total", 0)),
        str(event.get("unit", "")),
        None if left is None else float(left),
    )


def data_folder(configured: Path | None) -> Path | None:
    """The folder with local copies of data: the configured one, else HPT_DATA, else None."""
    named = os.environ.get("HPT_DATA")
    return configured or (Path(expand_named(named, "HPT_DATA")) if named else None)


class Throttle:
    """Limits how often something happens."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._last = float("-inf")

    def due(self) -> bool:
        """Whether `seconds` have passed since the last call that returned True."""
        now = time.monotonic()
        if now - self._last < self._seconds:
            return False
        self._last = now
        return True
