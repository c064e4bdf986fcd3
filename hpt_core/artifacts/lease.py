"""Leases. One run at a time works on a fingerprint."""

import contextlib
import fcntl
import json
import logging
import os
import socket
import threading
import time
import uuid
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from datetime import datetime
from pathlib import Path
from typing import IO, Any, ClassVar, NamedTuple, Self

from hpt_core.errors import LockedError, StoreError

LOG = logging.getLogger("hpt.lease")

LENGTH_S = 60.0
"""Seconds until a lease expires if it is not renewed."""
KERNEL = Path("/proc/sys/kernel/random/boot_id")
"""Identifies a running kernel. All containers of a machine read the same id, and two machines read different ones."""


class Holder(NamedTuple):
    """The process in a lease file."""

    text: str
    """The process, for messages."""
    alive: bool
    """Whether it still holds the lease."""


class BaseLease(ABC):
    """Says which process is producing an artifact."""

    poll_s: ClassVar[float] = 0.5
    """Seconds between two looks at a lease that another process holds."""

    @contextlib.contextmanager
    def held(self, waiting: Callable[[str], None] | None = None, poll_s: float | None = None) -> Iterator[Self]:
        """Take the lease, waiting while another process holds it. `waiting(text)` is called at each poll; it may
        raise."""
        while not self.try_take():
            if waiting and (holder := self.holder()):
                waiting(f"waiting for {holder}, which is producing the same artifact")
            time.sleep(self.poll_s if poll_s is None else poll_s)
        try:
            yield self
        finally:
            self.release()

    @abstractmethod
    def try_take(self) -> bool:
        """Take the lease if it is free. Raises StoreError if the store cannot be read or written."""

    @abstractmethod
    def confirm(self) -> None:
        """Raise LockedError if another run has taken over the lease, as after this process slept past its expiry."""

    @abstractmethod
    def release(self) -> None:
        """Release the lease. Does nothing if it is not held."""

    @abstractmethod
    def holder(self) -> str | None:
        """The process that holds the lease, for messages; None if the lease is free."""

    @abstractmethod
    def discard(self) -> None:
        """Remove what is left of a lease that nobody holds, as after a crash."""

    @abstractmethod
    def is_stale(self, after_s: float) -> bool:
        """Whether the lease was not renewed for `after_s` seconds of the store's clock. Unlike `holder`, this needs no
        waiting, but a takeover must not rely on it."""


class Lease(BaseLease):
    """A lease file that says which process is producing an artifact.

    The holder keeps the file locked, and a thread renews the lease by setting the file's modification time. The lease
    is free if the file is missing, and in two more cases:

    - The file is not locked, and the reader would see the holder's lock, because both use the same kernel and the same
      mounted file system. The kernel drops the lock when the holder dies, so kill -9 frees the lease at once. Host
      names and process numbers do not count, because containers repeat them.
    - The file has not changed for LENGTH_S of the reader's monotonic clock. So the clocks of two machines need not
      agree.

    The file is created and removed under a lock on a second file. A takeover replaces it, so a holder that was
    suspended for too long finds another token in it.
    """

    def __init__(self, file: Path, length_s: float = LENGTH_S) -> None:
        self.file = file
        self.length_s = length_s
        self._token = uuid.uuid4().hex
        self._locked: IO[str] | None = None
        """The lease file while this process holds it."""
        self._seen: tuple[object, float] = (None, 0.0)
        """State of another holder's file, and when this object first saw it, in seconds of the monotonic clock."""
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None

    def try_take(self) -> bool:
        """Take the lease if it is free. Raises StoreError if the file cannot be locked or written."""
        with self._guard():
            holder = self._look()
            if holder and holder.alive:
                return False
            if holder:
                LOG.warning("taking over the lease of %s", holder.text)
            self._locked = self._create()
        self._stop.clear()
        self._thread = threading.Thread(target=self._renew, name=f"lease {self.file.name}", daemon=True)
        self._thread.start()
        return True

    def confirm(self) -> None:
        """Raise LockedError if another run has taken over the lease, as after this process slept past its expiry."""
        with self._guard():
            mine = self._is_mine()
        if not mine:
            raise LockedError(f"another run took over {self.file.stem}", "run the pipeline again")

    def release(self) -> None:
        """Release the lease. Does nothing if it is not held."""
        self._stop.set()
        if self._thread:
            self._thread.join()
        if self._locked is None:
            return
        try:
            with self._guard():
                if self._is_mine():
                    self.file.unlink(missing_ok=True)
                    self._guard_file.unlink(missing_ok=True)
        except StoreError as error:
            # The artifact is finished. Other runs see that the file is not locked any more, or that it expires.
            LOG.warning("the lease is not released: %s", error)
        self._locked.close()
        self._locked = None

    def holder(self) -> str | None:
        """The process that holds the lease, for messages; None if the lease is free."""
        holder = self._look()
        return holder.text if holder and holder.alive else None

    def discard(self) -> None:
        """Remove the files of a lease that nobody holds, as after a crash. Raises StoreError as `try_take` does."""
        with self._guard():
            holder = self._look()
            if holder is None or not holder.alive:
                self.file.unlink(missing_ok=True)
                self._guard_file.unlink(missing_ok=True)

    def is_stale(self, after_s: float) -> bool:
        """Whether the lease was not renewed for `after_s` seconds of the file system's clock. Unlike `holder`, this
        needs no waiting, but a takeover must not rely on it. False if the folder cannot be written."""
        probe = self.file.with_name(f".probe-{self._token[:8]}.tmp")
        try:
            probe.touch()
            age = probe.stat().st_mtime - self.file.stat().st_mtime
            probe.unlink()
        except OSError:
            return False
        return age > after_s

    def place(self) -> str:
        """Identifies the folder of the lease. Two processes with the same one see each other's locks."""
        self.file.parent.mkdir(parents=True, exist_ok=True)
        status = self.file.parent.stat()
        return f"{_kernel()} {status.st_dev} {status.st_ino}" if _kernel() else uuid.uuid4().hex

    @contextlib.contextmanager
    def _guard(self) -> Iterator[None]:
        try:
            self.file.parent.mkdir(parents=True, exist_ok=True)
            while True:
                with self._guard_file.open("a") as handle:
                    fcntl.flock(handle, fcntl.LOCK_EX)
                    if self._is_guard(handle.fileno()):
                        yield
                        return
        except OSError as error:
            raise StoreError(
                f"cannot lock {self.file}: {error.strerror or error}",
                "check that the store's file system is writable and supports file locks (flock), and run again",
            ) from error

    @property
    def _guard_file(self) -> Path:
        return self.file.with_suffix(".guard")

    def _is_guard(self, handle: int) -> bool:
        """Whether the locked file is still the guard. A holder removes the guard with its lease."""
        try:
            return os.path.samestat(os.fstat(handle), self._guard_file.stat())
        except FileNotFoundError:
            return False

    def _create(self) -> IO[str]:
        """Write the lease file and return it. It is locked before it gets its name, so nobody sees it unlocked."""
        beside = self.file.with_name(f".{self.file.name}.{self._token[:8]}.tmp")
        handle = beside.open("w", encoding="utf-8")
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            device = os.fstat(handle.fileno()).st_dev
            record = {"token": self._token, "host": socket.gethostname(), "pid": os.getpid()}
            json.dump(record | {"kernel": _kernel(), "device": device}, handle)
            handle.flush()
            os.fsync(handle.fileno())
            beside.replace(self.file)
        except BaseException:
            handle.close()
            beside.unlink(missing_ok=True)
            raise
        return handle

    def _is_mine(self) -> bool:
        try:
            return bool(json.loads(self.file.read_bytes())["token"] == self._token)
        except (FileNotFoundError, ValueError, LookupError, TypeError):
            return False

    def _look(self) -> Holder | None:
        """The process in the file; None without a file. If the file cannot be read, it holds until it expires."""
        try:
            with self.file.open("rb") as handle:
                changed = os.fstat(handle.fileno()).st_mtime_ns
                record: dict[str, Any] = dict(json.loads(handle.read()))
                is_dead = _is_unlocked(handle.fileno(), record)
        except FileNotFoundError:
            return None
        except (OSError, ValueError, TypeError) as error:
            return Holder(f"an unknown process ({self.file}: {error})", not self._is_expired(repr(error)))
        renewed = datetime.fromtimestamp(changed / 1e9).astimezone()
        text = f"process {record.get('pid', '?')} on {record.get('host', '?')}"
        is_expired = self._is_expired((record.get("token"), changed))
        return Holder(f"{text} (lease renewed at {renewed:%Y-%m-%d %H:%M:%S})", not is_dead and not is_expired)

    def _is_expired(self, state: object) -> bool:
        """Whether the file has been in this state for `length_s` since this object first saw it."""
        if state != self._seen[0]:
            self._seen = (state, time.monotonic())
        return time.monotonic() - self._seen[1] >= self.length_s

    def _renew(self) -> None:
        assert self._locked is not None
        failing = False
        while not self._stop.wait(self.length_s / 4):
            try:
                # Through the open file: after a takeover this changes only the file that was replaced.
                os.utime(self._locked.fileno())
                failing = False
            except OSError as error:
                # A network file system may come back before anybody takes over; `confirm` finds out.
                if not failing:
                    LOG.warning("%s cannot be renewed (%s); trying again", self.file, error.strerror or error)
                failing = True


def _kernel() -> str:
    """Id of the running kernel; "" if it is unknown."""
    try:
        return KERNEL.read_text().strip()
    except OSError:
        return ""


def _is_unlocked(handle: int, record: dict[str, Any]) -> bool:
    """Whether the holder's lock is gone. False if its lock is not visible here: another kernel or file system."""
    kernel = _kernel()
    if not kernel or (record.get("kernel"), record.get("device")) != (kernel, os.fstat(handle).st_dev):
        return False
    try:
        # Shared, so that two readers do not take each other for the holder.
        fcntl.flock(handle, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
