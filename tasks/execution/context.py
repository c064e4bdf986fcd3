"""What every stage of a run shares: the store, the data folder, what is to be redone, who is told of progress."""

import logging
import os
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal

from pydantic import BaseModel

from hpt_core.artifacts import Cost, KnownFiles, Slot, Store
from hpt_core.trackers.base import TrackerConfig
from tasks.execution import process
from tasks.execution.keys import ArtifactKey, StageKey

LOG = logging.getLogger("hpt.run")

What = Literal["started", "waiting", "progress", "made", "reused", "failed", "skipped"]


@dataclass(frozen=True)
class Notice:
    """What a stage is at."""

    stage: str
    what: What
    text: str = ""
    done: int = 0
    total: int = 0
    unit: str = ""
    left: float | None = None
    """Seconds that the worker reckons with; None where it does not say."""


Observer = Callable[[Notice], None]
_OBSERVERS: list[Observer] = []


def subscribe(observer: Observer) -> Callable[[], None]:
    """Have `observer` called with every notice of this process; returns what ends it."""
    _OBSERVERS.append(observer)
    return lambda: _OBSERVERS.remove(observer)


@dataclass(frozen=True)
class Context:
    """Shared by the stages of a run; holds nothing that changes an output."""

    store: Store
    known: KnownFiles
    data_dir: Path | None = None
    pipeline: str = ""
    """Name of the pipeline, for what is shown elsewhere."""
    workers: int = 2
    threads: int | None = None
    processes: int | None = None
    """Training processes on this machine; None is one for each GPU, or one."""
    launcher: str | None = None
    """Command that starts them in place of torchrun."""
    slices: int | None = None
    """Parts that a model's questions are sampled in; None is one for each GPU, or one."""
    ray: str | None = None
    """Address of the Ray cluster that samples them, in place of this machine."""
    trackers: tuple[TrackerConfig, ...] = ()
    """Where training logs are mirrored to."""
    timeout_s: float | None = None
    strict: bool = False
    """Stop at the first malformed row of training data."""
    verify: bool = False
    """Hash every file again before an output counts as whole."""
    redo: frozenset[str] = frozenset()
    """Stages, and kinds of artifacts of stages ("evaluate.hpt/verdicts"), that are made again although they hold..."""
    since: datetime = field(default_factory=lambda: datetime.now(UTC))
    """...unless it was begun after this moment: a retry does not redo what the run had finished."""
    cancelled: threading.Event = field(default_factory=threading.Event)

    def redoes(self, key: ArtifactKey) -> bool:
        """Whether an artifact is to be made again."""
        return not self.redo.isdisjoint((str(key.stage), str(key._replace(part=""))))

    def notify(self, notice: Notice) -> None:
        """Tell every observer."""
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
    ) -> Cost:
        """Run a worker program for a stage; its log goes to each slot's log, its progress to the observers.

        `threads` are those of each of the launcher's processes, the context's where None.
        """

        def show(event: process.Event) -> None:
            if notice := as_notice(str(stage), event):
                self.notify(notice)

        return process.run(self.job(stage, module, spec, slots, threads, launcher), show, self.cancelled)

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
        """A worker program's job; `name` is that of its spec file, which tells several of a stage apart."""
        threads = self.threads if threads is None else threads
        return process.WorkerRun(
            stage=str(stage),
            module=module,
            spec=spec,
            spec_file=slots[0].folder / f"{name}.json",
            logs=[slot.log for slot in slots],
            timeout_s=self.timeout_s,
            environment={} if threads is None else {"OMP_NUM_THREADS": str(threads)},
            launcher=launcher,
        )


def as_notice(stage: str, event: process.Event) -> Notice | None:
    """The notice of a worker's progress; None for any other event."""
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
    """The folder with local copies of the data: the config's, else HPT_DATA, else None."""
    if configured is not None:
        return configured.expanduser()
    named = os.environ.get("HPT_DATA")
    return Path(named).expanduser() if named else None


class Throttle:
    """Lets a call through at most every so many seconds."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._last = float("-inf")

    def due(self) -> bool:
        """Whether it is time again."""
        now = time.monotonic()
        if now - self._last < self._seconds:
            return False
        self._last = now
        return True
