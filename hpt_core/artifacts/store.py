"""The store's folders, and checks that artifacts are still intact."""

import contextlib
import logging
import os
import re
import shutil
import stat
import uuid
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

from fsspec.core import split_protocol
from pydantic import AfterValidator, AwareDatetime, ValidationError

from hpt_core.artifacts.history import History
from hpt_core.artifacts.known import KnownFiles
from hpt_core.artifacts.lease import Lease
from hpt_core.artifacts.manifest import Damage, Manifest, damage, unreadable
from hpt_core.base import Frozen
from hpt_core.errors import ConfigError, StoreError
from hpt_core.files import write_text
from hpt_core.paths import check_inside, expand_named
from hpt_core.redact import redacted

LOG = logging.getLogger("hpt.store")

BY_PIPELINE = "by-pipeline"
"""Folder of the store with links to each pipeline's artifacts by name."""
LEASES = ".leases"
BLOCK = 512
"""Bytes of a block in a file's status."""
HIDDEN = "manifest.hidden.json"
"""Name of a manifest while its artifact is being removed."""
REMOVED = ".removed-"
"""Start of the name of a folder that is being removed."""
FINGERPRINT = re.compile("[0-9a-f]{64}")


class Pin(Frozen):
    """Keeps an artifact, and what it was made from, from being removed."""

    place: Annotated[str, AfterValidator(check_inside)]
    """KIND/FINGERPRINT."""
    note: str = ""
    time: AwareDatetime


class Slot:
    """The folder of one artifact: STORE/KIND/FINGERPRINT/."""

    def __init__(self, folder: Path, kind: str, fingerprint: str) -> None:
        self.folder = folder
        self.kind = kind
        self.fingerprint = fingerprint
        self.output = folder / "output"
        self.work = folder / "work"
        self.log = folder / "log.txt"
        self.manifest_file = folder / "manifest.json"
        self.attempts_file = folder / "attempts.jsonl"
        """Times of the attempts to produce the artifact, while it does not exist."""

    def __str__(self) -> str:
        return f"{self.kind}/{self.fingerprint[:12]}"

    def usage(self) -> tuple[int, datetime]:
        """Bytes on the disk, and when a file changed last. A file with several links, such as rollouts in work/ and in
        output/, counts once."""
        sizes, times = dict[int, int](), list[float]()
        for path in self.folder.rglob("*"):
            with contextlib.suppress(FileNotFoundError):
                status = path.lstat()
                sizes[status.st_ino] = status.st_blocks * BLOCK
                if stat.S_ISREG(status.st_mode):
                    times.append(status.st_mtime)
        changed = max(times, default=self.folder.stat().st_mtime)
        return sum(sizes.values()), datetime.fromtimestamp(changed, UTC)

    def manifest(self) -> Manifest | None:
        """The manifest; None if it is missing, or is not a manifest, which is logged. Raises StoreError if the file
        cannot be read."""
        try:
            return Manifest.model_validate_json(self.manifest_file.read_bytes())
        except (FileNotFoundError, NotADirectoryError):
            return None
        except OSError as error:
            raise unreadable(self.manifest_file, error) from error
        except ValidationError:
            LOG.warning("%s is damaged; the artifact will be produced again", self.manifest_file)
            return None

    def damage(self, known: KnownFiles, verify: bool = False) -> list[Damage]:
        """Differences between the artifact's files and its manifest; empty if all files match.

        A file is intact if its size and SHA-256 match. The hash is taken from `known` if the modification time did not
        change; `verify` hashes every file again. Call it only if there is a manifest. Raises StoreError for a file that
        cannot be read.
        """
        manifest = self.manifest()
        if manifest is None:
            return [Damage(self.manifest_file, "is missing")]
        if manifest.fingerprint != self.fingerprint:
            return [Damage(self.manifest_file, f"belongs to another artifact ({manifest.fingerprint[:12]})")]
        return damage(self.folder, manifest.files, lambda path: known.sha256(path, fresh=verify))

    def set_aside(self) -> None:
        """Invalidate the artifact. The manifest is renamed first, so a crash leaves no manifest without its files."""
        if self.manifest_file.exists():
            self.manifest_file.replace(self.folder / "manifest.replaced.json")

    def discard(self) -> None:
        """Remove output/ and work/. Call it only if there is no manifest."""
        shutil.rmtree(self.work, ignore_errors=True)
        self.discard_output()

    def discard_output(self) -> None:
        """Remove output/ and keep work/. Call it only if there is no manifest."""
        shutil.rmtree(self.output, ignore_errors=True)

    def commit(self, manifest: Manifest) -> None:
        """Write the manifest without secrets, which makes the artifact exist, and remove work/."""
        manifest = manifest.model_copy(update={"config": redacted(manifest.config), "facts": redacted(manifest.facts)})
        for path in [*self.output.rglob("*"), self.output]:
            _flush(path)
        write_text(self.manifest_file, manifest.model_dump_json(indent=2) + "\n")
        shutil.rmtree(self.work, ignore_errors=True)
        (self.folder / "manifest.replaced.json").unlink(missing_ok=True)
        self.attempts_file.unlink(missing_ok=True)


class Store:
    """A folder of artifacts. Raises ConfigError for an address that is not a local folder."""

    def __init__(self, url: str | Path) -> None:
        protocol, path = split_protocol(str(url))
        if protocol not in (None, "file", "local"):
            raise ConfigError(
                f"store {str(url)!r}: stores on {protocol!r} are not supported", "give a local or mounted folder"
            )
        self.root = Path(expand_named(path, "store")).resolve()
        with contextlib.suppress(OSError):  # a folder that may not be read is found by check_writable
            if file := next((place for place in (self.root, *self.root.parents) if place.is_file()), None):
                raise ConfigError(
                    f"store {self.root}: {file} is a file", "give a folder in the config (store) or with --store"
                )

    def slot(self, kind: str, fingerprint: str) -> Slot:
        """The folder of an artifact, whether or not the artifact exists."""
        return Slot(self.root / kind / fingerprint, kind, fingerprint)

    def lease(self, slot: Slot) -> Lease:
        """The lease of an artifact."""
        return Lease(self.root / LEASES / f"{slot.kind}-{slot.fingerprint}.json")

    @property
    def history(self) -> History:
        """The records of the runs on this store."""
        return History(self.root)

    @property
    def is_used(self) -> bool:
        """Whether anything has run on it."""
        return any((self.root / name).is_dir() for name in ("by-name", "history"))

    def slots(self, kind: str = "*") -> Iterator[Slot]:
        """The folder of every artifact, finished or not, of one kind or of all."""
        for folder in sorted(self.root.glob(f"{kind}/*")):
            if FINGERPRINT.fullmatch(folder.name) and folder.is_dir() and not folder.is_symlink():
                yield Slot(folder, folder.parent.name, folder.name)

    def outputs(self, kind: str = "*") -> list[Manifest]:
        """Manifests of every finished artifact of a kind or of all, oldest first."""
        return sorted((m for slot in self.slots(kind) if (m := slot.manifest())), key=lambda m: m.end)

    def pipelines(self) -> list[str]:
        """Names of the pipelines that have used the store."""
        return sorted(path.name for path in (self.root / BY_PIPELINE).glob("*"))

    def names(self, pipeline: str = "") -> dict[str, Slot]:
        """Name -> artifact that a pipeline used last under that name; without a pipeline, that any used last."""
        place = self.root / BY_PIPELINE / pipeline if pipeline else self.root / "by-name"
        found = {}
        for link in sorted(path for path in place.rglob("*") if path.is_symlink()):
            folder = link.resolve()
            found[link.relative_to(place).as_posix()] = self.slot(folder.parent.name, folder.name)
        return found

    def link(self, pipeline: str, key: str, folder: Path) -> None:
        """Link an artifact as by-name/KEY, by-pipeline/PIPELINE/KEY and by-date/DAY/PIPELINE/KEY.

        KEY is a stage's ("train.hpt") or an artifact's ("evaluate.hpt/samples/aime24"); DAY is the day it was made. A
        name points to the artifact used last. The links are for people only, so a failure to create one is a warning.
        """
        manifest = self.slot(folder.parent.name, folder.name).manifest()
        day = "" if manifest is None else f"{manifest.end.astimezone():%Y-%m-%d}"
        for place in ("by-name", f"{BY_PIPELINE}/{pipeline}", f"by-date/{day}/{pipeline}"):
            link = self.root / place / key
            target = os.path.relpath(folder, link.parent)
            try:
                if link.is_symlink() and str(link.readlink()) == target:
                    continue
                link.parent.mkdir(parents=True, exist_ok=True)
                beside = link.with_name(f".{link.name}.{uuid.uuid4().hex[:8]}.tmp")
                beside.symlink_to(target)
                beside.replace(link)
            except OSError as error:
                LOG.warning("%s cannot be linked: %s", link, error.strerror or error)

    def named(self, pipeline: str, key: str) -> Manifest | None:
        """Manifest of a pipeline's latest artifact with this name; None if there is none."""
        link = self.root / BY_PIPELINE / pipeline / key
        if not link.is_symlink():
            return None
        folder = link.resolve()
        return self.slot(folder.parent.name, folder.name).manifest()

    def pins(self) -> list[Pin]:
        """All pins, oldest first."""
        files = (self.root / "pins").glob("*.json")
        return sorted((Pin.model_validate_json(file.read_bytes()) for file in files), key=lambda pin: pin.time)

    def pin(self, slot: Slot, note: str = "") -> None:
        """Keep an artifact until it is unpinned."""
        pin = Pin(place=f"{slot.kind}/{slot.fingerprint}", note=note, time=datetime.now(UTC))
        write_text(self._pin_file(slot), pin.model_dump_json(indent=2) + "\n")

    def unpin(self, slot: Slot) -> bool:
        """Remove a pin. Returns whether there was one."""
        file = self._pin_file(slot)
        found = file.exists()
        file.unlink(missing_ok=True)
        return found

    def _pin_file(self, slot: Slot) -> Path:
        return self.root / "pins" / f"{slot.kind}-{slot.fingerprint}.json"

    def remove(self, slot: Slot, is_used: Callable[[Slot], bool]) -> bool:
        """Remove an artifact, unless a run holds its lease or `is_used` says that a run refers to it.

        A run records what it uses before it looks for the manifest. Here the manifest is hidden before the records are
        read. So one of the two notices the other.
        """
        lease = self.lease(slot)
        if not lease.try_take():
            return False
        try:
            hidden = slot.folder / HIDDEN
            with contextlib.suppress(FileNotFoundError):
                slot.manifest_file.replace(hidden)
            if is_used(slot):
                with contextlib.suppress(FileNotFoundError):
                    hidden.replace(slot.manifest_file)
                return False
            removed = slot.folder.with_name(f"{REMOVED}{slot.fingerprint}")
            shutil.rmtree(removed, ignore_errors=True)
            slot.folder.replace(removed)
            shutil.rmtree(removed)
        finally:
            lease.release()
        return True

    def _show(self, slot: Slot, hidden: Path) -> None:
        """Give a manifest its name back, if the removal that has hidden it was killed."""
        lease = self.lease(slot)
        if lease.try_take():
            with contextlib.suppress(FileNotFoundError):
                if not slot.manifest_file.exists():
                    hidden.replace(slot.manifest_file)
            lease.release()

    def remove_leftovers(self) -> None:
        """Remove links to artifacts that are gone, leases that nobody holds, and what a killed removal left."""
        for name in {path.with_suffix(".json") for path in (self.root / LEASES).glob("[!.]*")}:
            Lease(name).discard()
        for folder in self.root.glob(f"*/{REMOVED}*"):
            shutil.rmtree(folder, ignore_errors=True)
        for hidden in self.root.glob(f"*/*/{HIDDEN}"):
            self._show(self.slot(hidden.parent.parent.name, hidden.parent.name), hidden)
        for place in ("by-name", BY_PIPELINE, "by-date"):
            for path in sorted((self.root / place).rglob("*"), reverse=True):
                if path.is_symlink() and not path.exists():
                    path.unlink(missing_ok=True)
                elif path.is_dir() and not path.is_symlink():
                    with contextlib.suppress(OSError):  # not empty
                        path.rmdir()

    def check_writable(self) -> None:
        """Raise StoreError if the store is not writable."""
        probe = self.root / f".probe-{uuid.uuid4().hex[:8]}"
        try:
            self.root.mkdir(parents=True, exist_ok=True)
            probe.write_bytes(b"")
            probe.unlink()
        except OSError as error:
            raise StoreError(
                f"cannot write to the store {self.root}: {error.strerror or error}",
                "set a writable folder in the config (store) or with --store",
            ) from error

    def free_bytes(self) -> int:
        """Bytes free on the store's disk."""
        folder = self.root
        while not folder.is_dir():
            folder = folder.parent
        return shutil.disk_usage(folder).free


def _flush(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
