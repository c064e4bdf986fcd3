"""Leases. One run at a time works on a fingerprint."""

import contextlib
import fcntl
import json
import logging
import socket
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil

from hpt_core.errors import LockedError
from hpt_core.files import write_json

LOG = logging.getLogger("hpt.lease")

LENGTH_S = 60.0
"""Seconds until a lease expires if it is not renewed."""


class Lease:
    """A lease file that says which process is producing an artifact, and until when.

    The lease is free when the file is missing, expired, or held by a process of this host that no longer runs. So kill
    -9 frees it at once on the same machine, and after LENGTH_S elsewhere. A thread renews it while it is held. Every
    change of the file happens under a lock on a second file, which the kernel releases when the lock's holder dies.
    """

    def __init__(self, file: Path, length_s: float = LENGTH_S) -> None:
        self.file = file
        self.length_s = length_s
        self._token = uuid.uuid4().hex
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None
        self._lost = False

    @contextlib.contextmanager
    def held(self, waiting: Callable[[str], None] | None = None, poll_s: float = 0.5) -> Iterator["Lease"]:
        """Take the lease, waiting while another process holds it. `waiting(text)` is called at each poll; it may
        raise."""
        while not self.try_take():
            if waiting:
                waiting(f"waiting for {self.holder_text()}")
            time.sleep(poll_s)
        try:
            yield self
        finally:
            self.release()

    def try_take(self) -> bool:
        """Take the lease if it is free."""
        with self._guard():
            holder = self._read()
            if holder and not self._stale(holder):
                return False
            if holder:
                LOG.warning("taking over the lease of process %s on %s", holder.get("pid"), holder.get("host"))
            self._write()
        self._stop.clear()
        self._lost = False
        self._thread = threading.Thread(target=self._renew, name=f"lease {self.file.name}", daemon=True)
        self._thread.start()
        return True

    def confirm(self) -> None:
        """Raise LockedError if another run has taken over the lease, as after this process slept past its expiry."""
        with self._guard():
            mine = (self._read() or {}).get("token") == self._token
        if self._lost or not mine:
            raise LockedError(f"another run took over {self.file.stem}", "run the pipeline again")

    def release(self) -> None:
        """Release the lease. Does nothing if it is not held."""
        self._stop.set()
        if self._thread:
            self._thread.join()
        with self._guard():
            if (self._read() or {}).get("token") == self._token:
                self.file.unlink(missing_ok=True)

    def holder(self) -> dict[str, Any] | None:
        """The current holder's record, or None if the lease is free."""
        holder = self._read()
        return holder if holder and not self._stale(holder) else None

    def holder_text(self) -> str:
        """The holder, for messages."""
        holder = self._read() or {}
        return f"process {holder.get('pid', '?')} on {holder.get('host', '?')}, which is producing the same artifact"

    @contextlib.contextmanager
    def _guard(self) -> Iterator[None]:
        self.file.parent.mkdir(parents=True, exist_ok=True)
        with self.file.with_suffix(".guard").open("a") as handle:
            fcntl.flock(handle, fcntl.LOCK_EX)
            yield

    def _write(self) -> None:
        me = psutil.Process()
        write_json(
            self.file,
            {
                "token": self._token,
                "host": socket.gethostname(),
                "pid": me.pid,
                "started": me.create_time(),
                "expires": time.time() + self.length_s,
            },
        )

    def _read(self) -> dict[str, Any] | None:
        try:
            found = json.loads(self.file.read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return None
        return found if isinstance(found, dict) else None

    @staticmethod
    def _stale(holder: dict[str, Any]) -> bool:
        if holder.get("expires", 0) < time.time():
            return True
        if holder.get("host") != socket.gethostname():
            return False
        try:
            process = psutil.Process(int(holder["pid"]))
            # A different start time means that the process id was reused.
            gone = process.status() == psutil.STATUS_ZOMBIE
            return bool(gone or abs(process.create_time() - float(holder["started"])) > 1)
        except (psutil.NoSuchProcess, KeyError, ValueError):
            return True

    def _renew(self) -> None:
        while not self._stop.wait(self.length_s / 4):
            with self._guard():
                if (self._read() or {}).get("token") != self._token:
                    self._lost = True
                    return
                self._write()
