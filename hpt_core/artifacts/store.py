"""The store's folders, and checks that artifacts are still intact.

A store at a URL has the same folders as a scratch folder on this machine, and a mirror that keeps them in step.
"""

import contextlib
import logging
import os
import re
import shutil
import stat
import uuid
from collections.abc import Callable, Iterable, Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

from fsspec.core import split_protocol
from pydantic import AfterValidator, AwareDatetime, ValidationError

from hpt_core.artifacts.history import History
from hpt_core.artifacts.known import KnownFiles
from hpt_core.artifacts.lease import BaseLease, Lease
from hpt_core.artifacts.manifest import Damage, Manifest, damage, unreadable
from hpt_core.artifacts.mirror import Mirror, locked, make_link
from hpt_core.base import Frozen
from hpt_core.errors import ConfigError, StoreError
from hpt_core.files import replacing, write_text
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
REPLACED = "manifest.replaced.json"
"""Name of a manifest whose artifact is produced again."""
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

    def __init__(self, folder: Path, kind: str, fingerprint: str, mirror: Mirror | None = None) -> None:
        """`mirror` is that of a store at a URL, and `folder` is in its scratch folder."""
        self.folder = folder
        self.mirror = mirror
        self.place = f"{kind}/{fingerprint}"
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
        """Bytes in the store, and when a file changed last. A file with several links, such as rollouts in work/ and in
        output/, counts once on a disk."""
        if self.mirror and (found := self.mirror.under(self.place)):
            return sum(info.size for info in found.values()), max(info.changed for info in found.values())
        return self._usage_on_disk()

    def last_write(self) -> datetime:
        """When a file here changed last."""
        return self._usage_on_disk()[1]

    def _usage_on_disk(self) -> tuple[int, datetime]:
        sizes, times = dict[int, int](), list[float]()
        for path in self.folder.rglob("*"):
            with contextlib.suppress(FileNotFoundError):
                status = path.lstat()
                sizes[status.st_ino] = status.st_blocks * BLOCK
                # Of a scratch folder, hidden files are the mirror's own.
                if stat.S_ISREG(status.st_mode) and not (self.mirror and path.name.startswith(".")):
                    times.append(status.st_mtime)
        changed = max(times, default=self.folder.stat().st_mtime)
        return sum(sizes.values()), datetime.fromtimestamp(changed, UTC)

    def is_begun(self, keeps_output: bool) -> bool:
        """Whether there is work in progress. `keeps_output` says that output/ may be it."""
        is_here = self.work.exists() or (keeps_output and self.output.exists())
        return is_here or bool(self.mirror and self.mirror.under(f"{self.place}/work"))

    def fetch(self, under: str = "") -> None:
        """Bring the files at or below output/`under` here, if the store is at a URL and the artifact is finished.

        Raises StoreError if the store does not answer, or holds other files than the manifest lists.
        """
        if self.mirror:
            self.mirror.fetch(self, under)

    def fetch_log(self) -> None:
        """Bring the log of an artifact that another machine has finished here. Raises StoreError."""
        name = f"{self.place}/{self.log.name}"
        if self.mirror and not self.log.exists() and name in self.mirror.under(self.place):
            with replacing(self.log) as beside:
                self.mirror.remote.download(name, beside)

    def where(self, path: str) -> str:
        """Where people find a file of output/: its path, or its URL if it was not fetched."""
        local = self.output / path
        return (
            str(local) if self.mirror is None or local.exists() else f"{self.mirror.remote}/{self.place}/output/{path}"
        )

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
        change; `verify` hashes every file again. In a store at a URL only sizes are compared without `verify`: the hash
        is checked when a file is fetched. Call it only if there is a manifest. Raises StoreError for a file that
        cannot be read.
        """
        manifest = self.manifest()
        if manifest is None:
            return [Damage(self.manifest_file, "is missing")]
        if manifest.fingerprint != self.fingerprint:
            return [Damage(self.manifest_file, f"belongs to another artifact ({manifest.fingerprint[:12]})")]
        if self.mirror:
            return self.mirror.damage(self, manifest, verify)
        return damage(self.folder, manifest.files, lambda path: known.sha256(path, fresh=verify))

    def set_aside(self, broken: Sequence[Damage] | None = None) -> None:
        """Invalidate the artifact. The manifest is renamed first, so a crash leaves no manifest without its files.

        With `broken`, its other files stay, for the next attempt to use.
        """
        if self.mirror is None:
            if self.manifest_file.exists():
                self.manifest_file.replace(self.folder / REPLACED)
        else:
            if broken is not None:
                self.mirror.fetch(self, but=[found.path.relative_to(self.folder).as_posix() for found in broken])
            with locked(self.folder), contextlib.suppress(FileNotFoundError):
                self.manifest_file.replace(self.folder / REPLACED)
            self.mirror.remove([f"{self.place}/{self.manifest_file.name}"])
        self.attempts_file.unlink(missing_ok=True)
        for found in broken or ():
            found.path.unlink(missing_ok=True)

    def discard(self) -> None:
        """Remove output/ and work/. Call it only if there is no manifest."""
        if self.mirror:
            self.mirror.discard(self)
        shutil.rmtree(self.work, ignore_errors=True)
        self.discard_output()

    def discard_output(self) -> None:
        """Remove output/ here and keep work/. Call it only if there is no manifest."""
        shutil.rmtree(self.output, ignore_errors=True)

    def commit(self, manifest: Manifest) -> None:
        """Write the manifest without secrets, which makes the artifact exist, and remove work/. A store at a URL must
        have the files already: see `Mirror.upload`."""
        manifest = manifest.model_copy(update={"config": redacted(manifest.config), "facts": redacted(manifest.facts)})
        for path in [*self.output.rglob("*"), self.output]:
            _flush(path)
        text = manifest.model_dump_json(indent=2) + "\n"
        if self.mirror:
            self.mirror.commit(self, text)
        write_text(self.manifest_file, text)
        shutil.rmtree(self.work, ignore_errors=True)
        (self.folder / REPLACED).unlink(missing_ok=True)
        self.attempts_file.unlink(missing_ok=True)

    def hide(self) -> None:
        """Rename the manifest, before the artifact is removed."""
        if self.mirror and (manifest := self.manifest()):
            self.mirror.put(f"{self.place}/{HIDDEN}", manifest.model_dump_json(indent=2) + "\n")
            self.mirror.remove([f"{self.place}/{self.manifest_file.name}"])
        with contextlib.suppress(FileNotFoundError):
            self.manifest_file.replace(self.folder / HIDDEN)

    def show(self) -> None:
        """Give a hidden manifest its name back."""
        hidden = self.folder / HIDDEN
        with contextlib.suppress(FileNotFoundError):
            if self.mirror and not self.manifest_file.exists():
                self.mirror.put(f"{self.place}/{self.manifest_file.name}", hidden.read_text(encoding="utf-8"))
            if not self.manifest_file.exists():
                hidden.replace(self.manifest_file)
        if self.mirror:
            self.mirror.remove([f"{self.place}/{HIDDEN}"])

    def erase(self) -> None:
        """Remove all files. The manifest must be hidden."""
        if self.mirror:
            self.mirror.remove(self.mirror.remote.list(self.place))
        removed = self.folder.with_name(f"{REMOVED}{self.fingerprint}")
        shutil.rmtree(removed, ignore_errors=True)
        with contextlib.suppress(FileNotFoundError):
            self.folder.replace(removed)
            shutil.rmtree(removed)


class Store:
    """A folder of artifacts, or the same at a URL that fsspec knows (s3://bucket/prefix)."""

    def __init__(self, url: str | Path) -> None:
        """Connects to nothing. Raises ConfigError for an address that cannot be one of a store, or a URL with
        credentials or without an installed client."""
        protocol, path = split_protocol(str(url))
        self.mirror: Mirror | None = None
        """Keeps the folders here and the store at a URL in step; None for a local store."""
        if protocol not in (None, "file", "local"):
            self.mirror = Mirror(expand_named(str(url), "store"))
            self.root = self.mirror.root
            self.address = self.mirror.remote.url
            return
        self.root = Path(expand_named(path, "store")).resolve()
        self.address = str(self.root)
        """What a config calls it: the folder, or the URL."""
        with contextlib.suppress(OSError):  # a folder that may not be read is found by check_writable
            if file := next((place for place in (self.root, *self.root.parents) if place.is_file()), None):
                raise ConfigError(
                    f"store {self.root}: {file} is a file", "give a folder in the config (store) or with --store"
                )

    def refresh(self, slots: Iterable[Slot] | None = None) -> None:
        """See what other machines have written to a store at a URL, everywhere or in some artifacts' folders. Does
        nothing on a local store. Raises StoreError if it does not answer."""
        if self.mirror:
            self.mirror.pull(*([""] if slots is None else (slot.place for slot in slots)))

    def slot(self, kind: str, fingerprint: str) -> Slot:
        """The folder of an artifact, whether or not the artifact exists."""
        return Slot(self.root / kind / fingerprint, kind, fingerprint, self.mirror)

    def lease(self, slot: Slot) -> BaseLease:
        """The lease of an artifact."""
        return self.named_lease(f"{slot.kind}-{slot.fingerprint}")

    def named_lease(self, name: str) -> BaseLease:
        """The lease with this name."""
        return self.mirror.lease(name) if self.mirror else Lease(self.root / LEASES / f"{name}.json")

    @property
    def history(self) -> History:
        """The records of the runs on this store."""
        return History(self.root, self.named_lease, self.mirror)

    @property
    def is_used(self) -> bool:
        """Whether anything has run on it."""
        return any((self.root / name).is_dir() for name in ("by-name", "history"))

    def finished(self) -> Iterator[tuple[float, str, str]]:
        """(time of the manifest in seconds, kind, fingerprint) of every finished artifact. Reads no manifest."""
        for kind in _folders(self.root):
            for folder in _folders(kind.path):
                if FINGERPRINT.fullmatch(folder.name):
                    with contextlib.suppress(FileNotFoundError):
                        status = os.stat(f"{folder.path}/manifest.json")  # noqa: PTH116  (of thousands)
                        yield status.st_mtime, kind.name, folder.name

    def slots(self, kind: str = "*") -> Iterator[Slot]:
        """The folder of every artifact, finished or not, of one kind or of all."""
        found = {
            (folder.parent.name, folder.name)
            for folder in self.root.glob(f"{kind}/*")
            if FINGERPRINT.fullmatch(folder.name) and folder.is_dir() and not folder.is_symlink()
        }
        for of, fingerprint in sorted(found | (self.mirror.folders(kind) if self.mirror else set())):
            yield self.slot(of, fingerprint)

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
            path = self.root / place / key
            try:
                is_new = make_link(path, folder)
                if self.mirror:
                    self.mirror.name(f"{place}/{key}", f"{folder.parent.name}/{folder.name}", is_new)
            except OSError as error:
                LOG.warning("%s cannot be linked: %s", path, error.strerror or error)

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
        text = pin.model_dump_json(indent=2) + "\n"
        if self.mirror:
            self.mirror.put(f"pins/{self._pin_file(slot).name}", text)
        write_text(self._pin_file(slot), text)

    def unpin(self, slot: Slot) -> bool:
        """Remove a pin. Returns whether there was one."""
        file = self._pin_file(slot)
        found = file.exists()
        if self.mirror:
            self.mirror.remove([f"pins/{file.name}"])
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
            slot.hide()
            if is_used(slot):
                slot.show()
                return False
            slot.erase()
        finally:
            lease.release()
        return True

    def remove_leftovers(self) -> None:
        """Remove links to artifacts that are gone, leases that nobody holds, and what a killed removal left."""
        for name in self._leases():
            self.named_lease(name).discard()
        for folder in self.root.glob(f"*/{REMOVED}*"):
            shutil.rmtree(folder, ignore_errors=True)
        for hidden in self.root.glob(f"*/*/{HIDDEN}"):
            slot = self.slot(hidden.parent.parent.name, hidden.parent.name)
            lease = self.lease(slot)
            if lease.try_take():
                slot.show()
                lease.release()
        if self.mirror:
            self._remove_leftover_objects(self.mirror)
        for place in ("by-name", BY_PIPELINE, "by-date"):
            for path in sorted((self.root / place).rglob("*"), reverse=True):
                if path.is_symlink() and not path.exists():
                    path.unlink(missing_ok=True)
                elif path.is_dir() and not path.is_symlink():
                    with contextlib.suppress(OSError):  # not empty
                        path.rmdir()

    def _leases(self) -> set[str]:
        """Names of all leases, held or not."""
        found = {path.stem for path in (self.root / LEASES).glob("[!.]*")}
        return found | (self.mirror.lease_names() if self.mirror else set())

    def _remove_leftover_objects(self, mirror: Mirror) -> None:
        """Remove names of artifacts that are gone, and work that was uploaded after its artifact was finished."""
        mirror.pull("")
        for name, target in mirror.names().items():
            if not mirror.under(target):
                mirror.remove([name])
                (self.root / name).unlink(missing_ok=True)
        for slot in self.slots():
            if slot.manifest() and (left := mirror.under(f"{slot.place}/work")):
                mirror.remove(left)

    def check_writable(self) -> None:
        """Raise StoreError if the store is not writable."""
        if self.mirror:
            name = f".probe-{uuid.uuid4().hex[:8]}"
            self.mirror.put(name, "")
            self.mirror.remove([name])
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
        """Bytes free on the store's disk; for a store at a URL, on that of its scratch folder."""
        folder = self.root
        while not folder.is_dir():
            folder = folder.parent
        return shutil.disk_usage(folder).free


def _folders(path: str | Path) -> list["os.DirEntry[str]"]:
    """The folders in a folder; none if it is missing."""
    try:
        with os.scandir(path) as entries:
            return [entry for entry in entries if entry.is_dir(follow_symlinks=False)]
    except FileNotFoundError:
        return []


def _flush(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
