"""Leases in a store at a URL, by objects that only one writer can create."""

import contextlib
import json
import logging
import os
import socket
import threading
import time
import uuid
from collections.abc import Mapping
from typing import Any

from hpt_core.artifacts.lease import LENGTH_S, BaseLease, Holder, Lease
from hpt_core.artifacts.remote import Info, Remote
from hpt_core.errors import LockedError, StoreError

LOG = logging.getLogger("hpt.lease")

FOLDER = "leases"
ABANDONED_S = 5 * LENGTH_S
"""Seconds without renewal after which a lease is removed by a cleanup."""
BEAT = ".beat"
GENERATION = ".json"


class RemoteLease(BaseLease):
    """leases/NAME/ in a store at a URL.

    GENERATION.json is the holder's record. It is created only if it does not exist, so of several processes that try,
    one succeeds. TOKEN.beat beside it is written again and again. The lease is free without a record, and if neither
    has changed for LENGTH_S of the reader's monotonic clock. A takeover creates the next generation; who finds a
    generation above its own has lost the lease.

    A local lease goes with it. It serializes the processes that share a scratch folder, and the kernel tells them at
    once that a holder has died.
    """

    poll_s = 2.0

    def __init__(self, remote: Remote, name: str, local: Lease, length_s: float = LENGTH_S) -> None:
        """`local` is the lease of the same name in the scratch folder."""
        self.name = name
        self.length_s = length_s
        self._remote = remote
        self._folder = f"{FOLDER}/{name}"
        self._local = local
        self._token = uuid.uuid4().hex
        self._generation: int | None = None
        """Number of the record while this process holds the lease."""
        self._records: dict[tuple[int, str], dict[str, Any]] = {}
        self._seen: object = None
        """What the lease's objects looked like."""
        self._looked = 0.0
        self._unchanged = 0.0
        """Seconds for which they have looked like that."""
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None

    def try_take(self) -> bool:
        """Take the lease if it is free. Raises StoreError if the store does not answer."""
        if not self._local.try_take():
            return False
        taken = False
        try:
            taken = self._take()
        finally:
            if not taken:
                self._local.release()
        return taken

    def _take(self) -> bool:
        found = self._remote.list(self._folder)
        holder = self._holder(found, is_local_free=True)
        if holder and holder.alive:
            return False
        dead = _generations(found)
        number = max(dead, default=0) + 1
        record = {"token": self._token, "host": socket.gethostname(), "pid": os.getpid(), "place": self._local.place()}
        name = self._name(number)
        if not self._remote.create(name, json.dumps(record).encode()):
            return False
        others = _generations(self._remote.list(self._folder))
        if any(dead.get(other) != info for other, info in others.items() if other != number):
            # Another process took the lease between the two listings. Of two, at least one notices the other.
            self._remote.remove([name])
            return False
        if holder:
            LOG.warning("taking over the lease of %s", holder.text)
        self._generation = number
        self._remote.remove(other for other in found)
        self._stop.clear()
        self._thread = threading.Thread(target=self._renew, name=f"lease {self.name}", daemon=True)
        self._thread.start()
        return True

    def confirm(self) -> None:
        """Raise LockedError if another run has taken over the lease, as after this process slept past its expiry."""
        if not self._is_mine():
            raise LockedError(f"another run took over {self.name}", "run the pipeline again")

    def release(self) -> None:
        """Release the lease. Does nothing if it is not held."""
        self._stop.set()
        if self._thread:
            self._thread.join()
        if self._generation is None:
            return
        try:
            if self._is_mine():
                self._remote.remove([self._name(self._generation), f"{self._folder}/{self._token}{BEAT}"])
        except StoreError as error:
            # The artifact is finished. Other runs see that the lease expires.
            LOG.warning("the lease is not released: %s", error)
        self._generation = None
        self._local.release()

    def holder(self) -> str | None:
        """The process that holds the lease, for messages; None if the lease is free."""
        holder = self._holder(self._remote.list(self._folder), is_local_free=False)
        return holder.text if holder and holder.alive else None

    def discard(self) -> None:
        """Remove the objects of a lease that nobody holds, as after a crash."""
        found = self._remote.list(self._folder)
        holder = self._holder(found, is_local_free=False)
        if holder is None or not holder.alive or self.is_stale(ABANDONED_S):
            self._remote.remove(found)
            self._local.discard()

    def is_stale(self, after_s: float) -> bool:
        """Whether the lease was not renewed for `after_s` seconds of the store's clock. Unlike `holder`, this needs no
        waiting, but a takeover must not rely on it. False without a lease, or if the store cannot be written."""
        probe = f"{self._folder}/.probe-{self._token}"
        try:
            self._remote.write(probe, b"")
            found = self._remote.list(self._folder)
            self._remote.remove([probe])
        except StoreError:
            return False
        now = found.pop(probe, None)
        renewed = [info.changed for name, info in found.items() if name.endswith((BEAT, GENERATION))]
        return now is not None and bool(renewed) and (now.changed - max(renewed)).total_seconds() > after_s

    def _name(self, number: int) -> str:
        return f"{self._folder}/{number:08d}{GENERATION}"

    def _is_mine(self) -> bool:
        generations = _generations(self._remote.list(self._folder))
        number = max(generations, default=None)
        return number is not None and number == self._generation and self._record(number)["token"] == self._token

    def _record(self, number: int) -> dict[str, Any]:
        """The record of a generation, whose token is None if it has vanished or cannot be read."""
        content = self._remote.read(self._name(number))
        record: dict[str, Any] = {"token": None}
        with contextlib.suppress(ValueError, TypeError):
            record |= json.loads(content or b"{}")
        return record

    def _holder(self, found: Mapping[str, Info], is_local_free: bool) -> Holder | None:
        """The process of the newest record; None without one. `is_local_free` says that this process holds the local
        lease, so that another process with the same scratch folder does not."""
        generations = _generations(found)
        if not generations:
            self._seen = None
            return None
        number = max(generations)
        key = (number, generations[number].mark)
        if key not in self._records:
            self._records = {key: self._record(number)}
        record = self._records[key]
        beat = found.get(f"{self._folder}/{record['token']}{BEAT}")
        renewed = max(generations[number], beat or generations[number], key=lambda info: info.changed).changed
        text = f"process {record.get('pid', '?')} on {record.get('host', '?')}"
        text = f"{text} (lease renewed at {renewed.astimezone():%Y-%m-%d %H:%M:%S})"
        is_dead = self._is_expired((key, beat))
        if not is_dead and record.get("place") == self._local.place():
            is_dead = is_local_free or self._local.holder() is None
        return Holder(text, not is_dead)

    def _is_expired(self, state: object) -> bool:
        """Whether the lease has looked like this for `length_s`.

        Of the time between two looks only as much counts as a renewal takes. While the store was away, nobody could
        renew the lease.
        """
        now = time.monotonic()
        if state != self._seen:
            self._seen, self._unchanged = state, 0.0
        else:
            self._unchanged += min(now - self._looked, self.length_s / 4)
        self._looked = now
        return self._unchanged >= self.length_s

    def _renew(self) -> None:
        failing, count = False, 0
        while not self._stop.wait(self.length_s / 4):
            count += 1
            try:
                self._remote.write(f"{self._folder}/{self._token}{BEAT}", str(count).encode(), patience_s=0)
                failing = False
            except StoreError as error:
                # The store may come back before anybody takes over; `confirm` finds out.
                if not failing:
                    LOG.warning("the lease %s cannot be renewed (%s); trying again", self.name, error.cause)
                failing = True


def _generations(found: Mapping[str, Info]) -> dict[int, Info]:
    """Number of each generation -> its record's object."""
    names = ((name.rpartition("/")[2], info) for name, info in found.items())
    return {int(name.removesuffix(GENERATION)): info for name, info in names if name.endswith(GENERATION)}
