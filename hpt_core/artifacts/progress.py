"""Work in progress of a store at a URL: it is uploaded while a stage runs, so that another machine can continue.

Each attempt uploads below a name of its own (KIND/FINGERPRINT/work/NAME/), and work/current.json names the one to
continue from. It changes only when everything below the new name is there. So what two attempts have written is never
mixed, whichever of them ends when.
"""

import contextlib
import json
import logging
import os
import re
import shutil
import threading
import time
import uuid
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hpt_core.artifacts.remote import Info
from hpt_core.errors import LockedError, StoreError
from hpt_core.files import write_json

if TYPE_CHECKING:
    from hpt_core.artifacts.mirror import Mirror
    from hpt_core.artifacts.store import Slot

LOG = logging.getLogger("hpt.store")

EVERY_S = 30.0
"""Seconds between two uploads of work in progress: what another machine repeats at most, beyond the last checkpoint."""
SHARE = 4
"""Shortest pause between two uploads, as a multiple of the last upload's duration: uploads of large checkpoints must
leave the stage its network."""
MARKER = "state.json"
"""The file that makes a checkpoint complete. It is uploaded after all other files, and read before them."""
CURRENT = "current.json"
LEFT_OUT = re.compile(r"\..*\.(tmp|old)|.*\.damaged")
"""Names of files and folders that are being written or removed, or are set aside. Other hidden files, such as the
.metadata of a checkpoint, are part of the work."""
HERE = ".work.json"
"""File of the slot's folder: the names of the attempts whose work is here, and what the last one has uploaded."""
Status = tuple[int, int]
"""Size and modification time of a file."""


class Work:
    """The work on one artifact, here and in the store."""

    def __init__(self, mirror: "Mirror", slot: "Slot", keeps_output: bool) -> None:
        """`keeps_output` says that output/ holds work in progress, too."""
        self._mirror = mirror
        self._remote = mirror.remote
        self._slot = slot
        self._folders = [slot.work, slot.output] if keeps_output else [slot.work]
        self._top = f"{slot.place}/work"
        self._name = uuid.uuid4().hex
        self._names: list[str] = []
        """The attempts whose work is here."""
        self._before: tuple[str, dict[str, Status]] = ("", {})
        """Name of the attempt before, and what it has uploaded. Files that are still the same are copied there."""
        self._uploaded: dict[str, Status] = {}
        """What this attempt has uploaded, by relative path."""
        self.is_current = False
        """Whether other machines would continue from what this attempt has uploaded."""

    def adopt(self) -> None:
        """Continue from the work in the store, unless the work here is the same or newer.

        Raises StoreError if it cannot be fetched.
        """
        current = _read(self._remote.read(f"{self._top}/{CURRENT}")).get("name")
        here = self._read_here()
        self._names, self._before = list(here.get("names", ())), (here.get("name", ""), here.get("uploaded", {}))
        if current and current not in self._names:
            for folder in {self._slot.work, *self._folders}:
                shutil.rmtree(folder, ignore_errors=True)
                folder.mkdir(parents=True, exist_ok=True)
            self._bring(current)
            LOG.info("%s: continuing the work of another machine, from %s", self._slot, self._remote)
            files = {path.relative_to(self._slot.folder).as_posix(): _status(path) for path in self._files()}
            self._names, self._before = [current], (current, files)
        self._names.append(self._name)
        self._save(*self._before)

    def _save(self, name: str, uploaded: dict[str, Status]) -> None:
        write_json(self._slot.folder / HERE, {"names": self._names, "name": name, "uploaded": uploaded})

    def _bring(self, current: str) -> None:
        top = f"{self._top}/{current}"
        found = self._remote.list(top)
        # Markers first: whatever is read after a marker is at least as new as its checkpoint.
        for is_marker in (True, False):
            self._remote.each(
                lambda item: self._bring_one(top, *item),
                [(name, info) for name, info in found.items() if name.endswith(f"/{MARKER}") is is_marker],
            )

    def _bring_one(self, top: str, name: str, info: Info) -> None:
        file = self._slot.folder / name.removeprefix(f"{top}/")
        file.parent.mkdir(parents=True, exist_ok=True)
        beside = file.with_name(f".{file.name}.{uuid.uuid4().hex[:8]}.tmp")
        with contextlib.suppress(FileNotFoundError):  # a machine that has lost its lease may still remove old files
            self._remote.download(name, beside)
            # When it was written counts for the cost of the attempt that was killed.
            os.utime(beside, (info.changed.timestamp(), info.changed.timestamp()))
            beside.replace(file)

    def _read_here(self) -> dict[str, Any]:
        try:
            return _read((self._slot.folder / HERE).read_bytes())
        except OSError:
            return {}

    def upload(self, stopped: Callable[[], bool]) -> bool:
        """Upload what has changed. Returns False if it was stopped. Raises StoreError."""
        # The markers are listed first and uploaded last. So all that a checkpoint needs is in the store before it.
        markers = [path for path in self._files() if path.name == MARKER]
        others = [path for path in self._files() if path.name != MARKER]
        return self._put(others, stopped) and self._put(markers, stopped)

    def settle(self) -> None:
        """After a complete upload, let other machines continue from it, and remove what is old. Call it only if the
        lease is held. Raises StoreError."""
        if not self.is_current:
            self._remote.write(f"{self._top}/{CURRENT}", json.dumps({"name": self._name}).encode())
            self.is_current = True
            self._remote.remove(
                name
                for name in self._remote.list(self._top)
                if not name.startswith(f"{self._top}/{self._name}/") and name != f"{self._top}/{CURRENT}"
            )
        self._remove_old()
        self._save(self._name, self._uploaded)

    def _put(self, paths: list[Path], stopped: Callable[[], bool]) -> bool:
        """Upload the files that have changed. Returns False if it was stopped."""

        def put(path: Path) -> None:
            relative = path.relative_to(self._slot.folder).as_posix()
            with contextlib.suppress(FileNotFoundError):  # removed meanwhile, like an old checkpoint
                status = _status(path)
                if not stopped() and self._uploaded.get(relative) != status:
                    self._put_one(path, relative, status)
                    self._uploaded[relative] = status

        self._remote.each(put, paths)
        return not stopped()

    def _put_one(self, path: Path, relative: str, status: Status) -> None:
        name, before = self._before
        if tuple(before.get(relative, ())) == status:
            with contextlib.suppress(FileNotFoundError):
                self._remote.copy(f"{self._top}/{name}/{relative}", self._object(relative))
                return
        self._remote.upload(path, self._object(relative))

    def _remove_old(self) -> None:
        """Remove objects whose files are gone, checkpoints' markers first."""
        gone = [r for r in self._uploaded if not (self._slot.folder / r).exists()]
        for names in ([r for r in gone if r.endswith(MARKER)], [r for r in gone if not r.endswith(MARKER)]):
            self._remote.remove(map(self._object, names))
        for relative in gone:
            del self._uploaded[relative]

    def publish(self) -> None:
        """Upload the artifact's files. What is in the store as work in progress is copied there."""
        self._mirror.upload(self._slot, self._uploaded_as)

    def _uploaded_as(self, path: Path) -> str | None:
        """The object with the content of a file; None if it was not uploaded, or has changed since."""
        relative = path.relative_to(self._slot.folder).as_posix()
        is_same = relative in self._uploaded and self._uploaded[relative] == _status(path)
        return self._object(relative) if is_same else None

    def _object(self, relative: str) -> str:
        return f"{self._top}/{self._name}/{relative}"

    def _files(self) -> Iterator[Path]:
        """Files of the work, without those that are being written (.NAME.tmp) or are set aside."""
        yield from (path for path in (self._slot.log, self._slot.attempts_file) if path.is_file())
        for folder in self._folders:
            for path in sorted(folder.rglob("*")):
                parts = path.relative_to(self._slot.folder).parts
                if path.is_file() and not any(LEFT_OUT.fullmatch(part) for part in parts):
                    yield path


def works(slots: Iterable["Slot"], keeps_output: bool) -> list[Work]:
    """The work on some artifacts; none on a local store, where all machines see the same files."""
    return [Work(slot.mirror, slot, keeps_output) for slot in slots if slot.mirror]


@contextlib.contextmanager
def shared(mine: list[Work], confirm: Callable[[], None]) -> Iterator[None]:
    """Upload the works again and again. A failure is only a warning: the stage itself needs no network."""
    if not mine:
        yield
        return
    stop = threading.Event()

    def run() -> None:
        wait, failing = EVERY_S, False
        while not stop.wait(wait):
            began = time.monotonic()
            try:
                confirm()
                complete = [work for work in mine if work.upload(stop.is_set)]
                if not all(work.is_current for work in complete):
                    confirm()
                for work in complete:
                    work.settle()
                failing = False
            except LockedError as error:
                LOG.warning("work in progress is no longer uploaded: %s", error.cause)
                return
            except (StoreError, OSError) as error:
                if not failing:
                    LOG.warning("work in progress is not uploaded: %s", error)
                failing = True
            wait = max(EVERY_S, SHARE * (time.monotonic() - began))

    thread = threading.Thread(target=run, name="work in progress", daemon=True)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()


def _status(path: Path) -> Status:
    status = path.stat()
    return status.st_size, status.st_mtime_ns


def _read(content: bytes | None) -> dict[str, Any]:
    """A JSON object; empty if there is none."""
    try:
        found = json.loads(content or b"{}")
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}
