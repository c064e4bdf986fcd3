"""The record of each run of a pipeline, in STORE/history/.

ID.json          the run: pipeline, config, times, outcome; written when the run starts, and again when it ends
ID.jsonl         what a run in progress uses and does, line by line; part of ID.json once the run ends
"""

import contextlib
import json
import logging
import os
import socket
import threading
import uuid
from collections.abc import Callable, Collection, Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

from pydantic import AwareDatetime, ValidationError

from hpt_core.artifacts.lease import LENGTH_S, BaseLease
from hpt_core.artifacts.mirror import Mirror
from hpt_core.base import Frozen
from hpt_core.errors import StoreError
from hpt_core.files import write_text

LOG = logging.getLogger("hpt.history")

JOURNAL = ".jsonl"
STALE_S = 5 * LENGTH_S
"""Seconds without a renewed lease after which a run on another machine counts as dead."""
Outcome = Literal["running", "done", "failed", "interrupted", "died"]
"""A run that ended without recording its end has died: it was killed, or its machine was."""


class StageRecord(Frozen):
    """What a run did with a stage."""

    what: str
    """ "started", "made", "reused", "failed" or "skipped"."""
    seconds: float = 0.0
    text: str = ""
    """Why it failed or was skipped."""


class RunRecord(Frozen):
    """One run of a pipeline."""

    id: str
    """Start and pipeline, as in "20261126-230422-demo-3f2a"; sorts by time."""
    pipeline: str
    config: Any
    """The resolved config, as JSON."""
    options: Any = None
    """What was run and rerun, as JSON."""
    host: str = ""
    pid: int = 0
    git_commit: str | None = None
    flow_run: str | None = None
    """Id of the run in Prefect."""
    start: AwareDatetime
    end: AwareDatetime | None = None
    outcome: Outcome = "running"
    error: str = ""
    stages: dict[str, StageRecord] = {}
    artifacts: dict[str, str] = {}
    """Key of each artifact that the run made, reused or began -> KIND/FINGERPRINT."""


class RunLog:
    """The record of a run in progress. A lease tells others that the run is alive."""

    def __init__(self, folder: Path, record: RunRecord, lease: BaseLease, mirror: Mirror | None = None) -> None:
        self.record = record
        self._mirror = mirror
        self._lines: list[str] = []
        """The journal, for a store whose objects are written as a whole."""
        self._file = folder / f"{record.id}.json"
        self._journal = folder / f"{record.id}{JOURNAL}"
        self._lease = lease
        self._artifacts: dict[str, str] = {}
        self._stages: dict[str, StageRecord] = {}
        self._lock = threading.Lock()
        self._lease.try_take()
        try:
            self._write(record)
        except BaseException:
            self._lease.release()
            raise

    def _write(self, record: RunRecord) -> None:
        text = record.model_dump_json(indent=2) + "\n"
        if self._mirror:
            self._mirror.put(f"history/{self._file.name}", text)
        write_text(self._file, text)

    def refer(self, artifacts: Mapping[str, str]) -> None:
        """Record that the run uses these artifacts (key -> KIND/FINGERPRINT), before it looks whether they exist.

        Raises StoreError if the store cannot be written.
        """
        with self._lock:
            if new := {key: place for key, place in artifacts.items() if self._artifacts.get(key) != place}:
                self._append({"artifacts": new})
                self._artifacts |= new

    def note(self, stage: str, record: StageRecord) -> None:
        """Record the outcome of a stage. Raises StoreError if the store cannot be written."""
        with self._lock:
            self._append({"stages": {stage: record.model_dump()}})
            self._stages[stage] = record

    def _append(self, line: Mapping[str, Any]) -> None:
        try:
            with self._journal.open("a", encoding="utf-8") as file:
                file.write(json.dumps(line) + "\n")
        except OSError as error:
            raise _unwritable(self._journal, error) from error
        if self._mirror:
            self._lines.append(json.dumps(line) + "\n")
            self._mirror.put(f"history/{self._journal.name}", "".join(self._lines))

    def end(self, outcome: Outcome, error: str = "") -> RunRecord:
        """Write the outcome, and return the whole record. A store that cannot be written is only logged, so that it
        does not hide the run's own error."""
        changes = {"end": datetime.now(UTC), "outcome": outcome, "error": error}
        record = self.record.model_copy(update=changes | {"stages": self._stages, "artifacts": self._artifacts})
        try:
            self._write(record)
            self._journal.unlink(missing_ok=True)
            if self._mirror:
                self._mirror.remove([f"history/{self._journal.name}"])
        except (OSError, StoreError) as problem:
            LOG.warning("the end of the run is not recorded in %s: %s", self._file, _reason(problem))
        self._lease.release()
        return record


def _reason(error: Exception) -> str:
    return str(getattr(error, "strerror", None) or error)


def _unwritable(path: Path, error: OSError) -> StoreError:
    return StoreError(f"cannot write to {path}: {error.strerror or error}", "check the store's disk, and run again")


class History:
    """The runs on a store."""

    def __init__(self, root: Path, lease: Callable[[str], BaseLease], mirror: Mirror | None = None) -> None:
        """`lease` gives the store's lease with a name."""
        self.folder = root / "history"
        self._lease = lease
        self._mirror = mirror

    def begin(self, pipeline: str, config: Any, **facts: Any) -> RunLog:
        """Record a new run. Raises StoreError if the store cannot be written."""
        start = datetime.now(UTC)
        name = f"{start:%Y%m%d-%H%M%S}-{pipeline}-{uuid.uuid4().hex[:4]}"
        host = {"host": socket.gethostname(), "pid": os.getpid()}
        record = RunRecord(id=name, pipeline=pipeline, config=config, start=start, **host, **facts)
        try:
            return RunLog(self.folder, record, self._lease(f"run-{name}"), self._mirror)
        except OSError as error:
            raise _unwritable(self.folder, error) from error

    def runs(self, but: Collection[str] = ()) -> list[RunRecord]:
        """All runs, without those whose ids are in `but`; oldest first. A record that cannot be read is logged."""
        if self._mirror:
            self._mirror.pull(self.folder.name)
        return sorted(self._read(but), key=lambda run: (run.start, run.id))

    def _read(self, but: Collection[str]) -> Iterator[RunRecord]:
        for file in self.folder.glob("*.json"):
            if file.stem in but:
                continue
            try:
                record = RunRecord.model_validate_json(file.read_bytes())
            except FileNotFoundError:
                continue
            except (OSError, ValidationError) as error:
                LOG.warning("%s cannot be read (%s)", file, type(error).__name__)
                continue
            yield record if record.end else self._unfinished(record)

    def _unfinished(self, record: RunRecord) -> RunRecord:
        found: dict[str, dict[str, Any]] = {"artifacts": {}, "stages": {}}
        with contextlib.suppress(FileNotFoundError):
            for line in (self.folder / f"{record.id}{JOURNAL}").read_text(encoding="utf-8").splitlines():
                with contextlib.suppress(ValueError):  # cut off when the process was killed
                    for name, values in json.loads(line).items():
                        found[name] |= values
        outcome: Outcome = "running" if self._is_alive(record.id) else "died"
        return RunRecord.model_validate({**record.model_dump(), **found, "outcome": outcome})

    def _is_alive(self, name: str) -> bool:
        lease = self._lease(f"run-{name}")
        return lease.holder() is not None and not lease.is_stale(STALE_S)

    def forget(self, record: RunRecord) -> None:
        """Remove the record of a run that has ended."""
        for suffix in (JOURNAL, ".json"):
            (self.folder / f"{record.id}{suffix}").unlink(missing_ok=True)
        if self._mirror:
            self._mirror.remove(f"{self.folder.name}/{record.id}{suffix}" for suffix in (JOURNAL, ".json"))
