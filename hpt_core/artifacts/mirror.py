"""A store at a URL, and its scratch folder on this machine.

The scratch folder has the layout of a local store, so all other code works with local files. Small files (manifests,
records of runs, pins, names) are pulled from one listing. An artifact's files are fetched when they are needed, and
uploaded before its manifest. Names are links here and small objects in the store.
"""

import contextlib
import contextvars
import fcntl
import json
import logging
import os
import re
import shutil
import threading
import time
import uuid
from collections.abc import Callable, Collection, Iterable, Iterator
from datetime import datetime
from pathlib import Path, PurePosixPath
from typing import Protocol

from hpt_core.artifacts.known import KnownFiles, cache_folder
from hpt_core.artifacts.lease import LENGTH_S, Lease
from hpt_core.artifacts.manifest import Damage, FileEntry, Manifest
from hpt_core.artifacts.remote import Info, Remote
from hpt_core.artifacts.remote_lease import FOLDER, RemoteLease
from hpt_core.errors import StoreError
from hpt_core.files import replacing, sha256_file, sha256_json, write_json

LOG = logging.getLogger("hpt.store")

GIB = 2**30
NAMES = ("by-name", "by-pipeline")
"""Folders of links that are objects in the store. by-date/ is for people who look into a folder, and stays local."""
INDEX = re.compile(
    rf"history/[^/]+\.jsonl?|pins/[^/]+\.json|({'|'.join(NAMES)})/.+|[^/]+/[0-9a-f]{{64}}/manifest(\.hidden)?\.json"
)
"""The small files, which are pulled as a whole."""
PLACE = re.compile("[^/]+/[0-9a-f]{64}")
"""KIND/FINGERPRINT."""
PULLED = ".pulled.json"
"""What was pulled: name -> mark of the object."""

Report = Callable[[str, int, int], None]
"""Receives what is transferred, the bytes so far, and all bytes."""


def _log(text: str, done: int, total: int) -> None:
    if not done:
        LOG.info("%s (%.1f MB)", text, total / 1e6)


REPORT: contextvars.ContextVar[Report] = contextvars.ContextVar("report", default=_log)
"""Receives the progress of fetches in this context."""


class Place(Protocol):
    """What a mirror needs of an artifact's folder (store.Slot)."""

    folder: Path
    place: str
    """KIND/FINGERPRINT."""
    output: Path
    log: Path

    def manifest(self) -> Manifest | None:
        """The manifest that is here."""


class Mirror:
    """The objects of a store, and their copies in a scratch folder."""

    def __init__(self, url: str) -> None:
        """Connects to nothing. Raises ConfigError for a URL that cannot be used."""
        self.remote = Remote(url)
        readable = re.sub(r"[^A-Za-z0-9]+", "-", self.remote.url).strip("-")[-60:]
        self.root = cache_folder().absolute() / "stores" / f"{readable}-{sha256_json(self.remote.url)[:12]}"
        self._objects: dict[str, dict[str, Info]] = {}
        """The objects that the last listings have shown, by the first two parts of their names (KIND/FINGERPRINT)."""
        self._lock = threading.RLock()

    def lease(self, name: str, length_s: float = LENGTH_S) -> RemoteLease:
        """The lease with this name."""
        return RemoteLease(self.remote, name, Lease(self.root / ".leases" / f"{name}.json"), length_s)

    def lease_names(self) -> set[str]:
        """Names of all leases, held or not."""
        return {name.split("/")[1] for name in self.remote.list(FOLDER)}

    # Listings

    def under(self, folder: str) -> dict[str, Info]:
        """The objects in a folder (a relative path), as last listed."""
        with self._lock:
            groups = [self._objects.get(_group(folder), {})] if "/" in folder else self._objects.values()
            return {name: i for group in groups for name, i in group.items() if name.startswith(f"{folder}/")}

    def folders(self, kind: str) -> set[tuple[str, str]]:
        """(Kind, fingerprint) of every artifact with objects; `kind` "*" is all kinds."""
        with self._lock:
            parts = [place.split("/") for place, group in self._objects.items() if group and PLACE.fullmatch(place)]
        return {(of, fingerprint) for of, fingerprint in parts if kind in ("*", of)}

    def pull(self, *folders: str) -> None:
        """List folders of the store ("" is the whole of it), bring the small files that differ here, and remove the
        copies of those that are gone."""
        began = time.time_ns()
        for folder, found in zip(folders, self.remote.each(self.remote.list, folders), strict=True):
            self._take(folder, found, began)

    def _take(self, folder: str, found: dict[str, Info], began: int) -> None:
        with self._lock:
            within = f"{folder}/" if folder else ""
            if "/" in folder:
                self._objects[_group(folder)] = {}
            else:
                self._objects = {p: group for p, group in self._objects.items() if not f"{p}/".startswith(within)}
            for name, info in found.items():
                self._objects.setdefault(_group(name), {})[name] = info
            pulled = self._pulled()
            wanted = {name: info for name, info in found.items() if INDEX.fullmatch(name)}
            new = [name for name, info in wanted.items() if not self._has(name, info, pulled)]
            self.remote.each(self._bring, new)
            for name in self._copies(folder) - wanted.keys():
                self._drop(name, began)
            gone = [name for name in pulled if name.startswith(within) and name not in wanted]
            if new or gone:
                for name in gone:
                    del pulled[name]
                write_json(self.root / PULLED, pulled | {name: wanted[name].mark for name in new})

    def _copies(self, folder: str) -> set[str]:
        """Names of the small files that are here, in a folder as `pull` takes it."""
        tops = [folder] if folder else ["history", "pins", "*/*"]
        paths = [path for top in tops for path in self.root.glob(f"{top}/*") if path.is_file()]
        for within, *found in (step for names in NAMES if not folder for step in os.walk(self.root / names)):
            paths += [Path(within, name) for part in found for name in part]
        # A link leads to an artifact, whose files are no names.
        relative = ((path.relative_to(self.root).as_posix(), path.is_symlink()) for path in paths)
        return {name for name, is_link in relative if INDEX.fullmatch(name) and is_link == name.startswith(NAMES)}

    def _pulled(self) -> dict[str, str]:
        try:
            found = json.loads((self.root / PULLED).read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return {}
        return found if isinstance(found, dict) else {}

    def _has(self, name: str, info: Info, pulled: dict[str, str]) -> bool:
        return pulled.get(name) == info.mark and os.path.lexists(self.root / name)

    def _bring(self, name: str) -> None:
        """Copy a small object here."""
        content, file = self.remote.read(name), self.root / name
        if content is None:
            return
        try:
            if name.startswith(NAMES):
                place = content.decode()
                if PLACE.fullmatch(place):
                    make_link(file, self.root / place)
            else:
                with replacing(file) as beside:
                    beside.write_bytes(content)
        except (OSError, UnicodeDecodeError) as error:
            LOG.warning("%s of %s cannot be kept in %s: %s", name, self.remote, self.root, error)

    def _drop(self, name: str, before: int) -> None:
        """Remove the copy of an object that is gone, unless a process here has written it since this time (ns)."""
        file = self.root / name
        with contextlib.suppress(OSError):
            if file.lstat().st_mtime_ns < before:
                file.unlink()

    # Small files

    def put(self, name: str, content: str) -> None:
        """Write a small object. Raises StoreError."""
        data = content.encode()
        self.remote.write(name, data)
        with self._lock:
            self._objects.setdefault(_group(name), {})[name] = Info(len(data), "", datetime.now().astimezone())

    def remove(self, names: Iterable[str]) -> None:
        """Remove objects."""
        gone = list(names)
        self.remote.remove(gone)
        with self._lock:
            for name in gone:
                self._objects.get(_group(name), {}).pop(name, None)

    def name(self, name: str, place: str, is_new: bool) -> None:
        """Let a name (by-name/KEY) refer to an artifact (KIND/FINGERPRINT), if it does not. A failure is a warning."""
        if not name.startswith(NAMES) or (name in self._objects.get(_group(name), {}) and not is_new):
            return
        try:
            self.put(name, place)
        except StoreError as error:
            LOG.warning("%s is not named in the store: %s", name, error)

    def names(self) -> dict[str, str]:
        """Name (by-name/KEY, by-pipeline/PIPELINE/KEY) -> KIND/FINGERPRINT, as last pulled."""
        links = ((name, self.root / name) for folder in NAMES for name in self.under(folder))
        return {name: "/".join(path.readlink().parts[-2:]) for name, path in links if path.is_symlink()}

    # An artifact's files

    def fetch(self, slot: Place, under: str = "", but: Collection[str] = ()) -> None:
        """Bring the finished artifact's files at or below output/`under` here, without those in `but`.

        Files there that the manifest does not list are removed. Raises StoreError for a file that is missing in the
        store or differs from the manifest.
        """
        if slot.manifest() is None:
            return
        with locked(slot.folder):
            manifest = slot.manifest()
            top = PurePosixPath("output") / under
            entries = manifest.files if manifest else ()
            files = {f.path: f for f in entries if PurePosixPath(f.path).is_relative_to(top) and ".." not in f.path}
            known = KnownFiles()
            lacking = [f for f in files.values() if f.path not in but and not _is_here(slot.folder / f.path, f, known)]
            folder = slot.folder / top
            for path in folder.rglob("*") if folder.is_dir() else ():
                if not path.is_dir() and path.relative_to(slot.folder).as_posix() not in files:
                    path.unlink()
            if not lacking:
                known.save()
                return
            self._require_room(sum(f.size for f in lacking))
            done, total, report = 0, sum(f.size for f in lacking), REPORT.get()
            text = f"fetching {slot} from {self.remote}"
            report(text, 0, total)

            def bring(entry: FileEntry) -> None:
                nonlocal done
                self._fetch(slot, entry)
                with self._lock:
                    done += entry.size
                    report(text, done, total)

            self.remote.each(bring, lacking)
            for entry in lacking:
                known.sha256(slot.folder / entry.path)
            known.save()

    def _require_room(self, size: int) -> None:
        self.root.mkdir(parents=True, exist_ok=True)
        free = shutil.disk_usage(self.root).free
        if size > free:
            raise StoreError(
                f"{size / GIB:.1f} GiB of {self.remote} do not fit into {self.root} ({free / GIB:.1f} GiB are free)",
                "free some space, or set HPT_CACHE to a folder on another disk",
            )

    def _fetch(self, slot: Place, entry: FileEntry) -> None:
        name, file = f"{slot.place}/{entry.path}", slot.folder / entry.path
        with replacing(file) as beside:
            try:
                self.remote.download(name, beside)
                problem = "" if _is(beside, entry) else "differs from its manifest"
            except FileNotFoundError:
                problem = "is missing"
            if problem:
                raise StoreError(
                    f"{name} in {self.remote} {problem}", "run the pipeline with --verify, which produces it again"
                )

    def damage(self, slot: Place, manifest: Manifest, verify: bool) -> list[Damage]:
        """Files that differ from the manifest in size, as last listed. `verify` reads them all and compares hashes."""
        found = self.under(slot.place)
        wrong = []
        for entry in manifest.files:
            info, path = found.get(f"{slot.place}/{entry.path}"), slot.folder / entry.path
            if info is None:
                wrong.append(Damage(path, f"is missing in {self.remote}"))
            elif info.size != entry.size:
                wrong.append(Damage(path, f"has {info.size} bytes instead of {entry.size} in {self.remote}"))
            elif verify and not self._is_intact(slot, entry):
                wrong.append(Damage(path, f"has changed in {self.remote} since it was written"))
        return wrong

    def _is_intact(self, slot: Place, entry: FileEntry) -> bool:
        beside = slot.folder / f".verify-{uuid.uuid4().hex[:8]}.tmp"
        beside.parent.mkdir(parents=True, exist_ok=True)
        try:
            self.remote.download(f"{slot.place}/{entry.path}", beside)
            return sha256_file(beside) == entry.sha256
        except FileNotFoundError:
            return False
        finally:
            beside.unlink(missing_ok=True)

    def upload(self, slot: Place, uploaded: Callable[[Path], str | None]) -> None:
        """Upload the files in output/, and the log. `uploaded` says which object already has a file's content."""
        paths = [
            path for path in sorted(slot.output.rglob("*")) if path.is_file() and not _is_hidden(path, slot.folder)
        ]

        def put(path: Path) -> str:
            name, before = f"{slot.place}/{path.relative_to(slot.folder).as_posix()}", uploaded(path)
            try:
                if before is None:
                    raise FileNotFoundError
                self.remote.copy(before, name)
            except FileNotFoundError:
                self.remote.upload(path, name)
            return name

        kept = set(self.remote.each(put, paths))
        if slot.log.is_file():
            self.remote.upload(slot.log, f"{slot.place}/log.txt")
        found = self.remote.list(f"{slot.place}/output")
        self.remote.remove(name for name in found if name not in kept)

    def commit(self, slot: Place, manifest: str) -> None:
        """Write the manifest, which makes the artifact exist in the store, and remove its work in progress."""
        self.put(f"{slot.place}/manifest.json", manifest)
        self.pull(slot.place)
        self.remove(self.under(f"{slot.place}/work"))

    def discard(self, slot: Place) -> None:
        """Remove work in progress and output from the store."""
        found = self.remote.list(slot.place)
        self.remove(name for name in found if name.startswith((f"{slot.place}/work/", f"{slot.place}/output/")))


def _group(name: str) -> str:
    return "/".join(name.split("/", 2)[:2])


def make_link(path: Path, folder: Path) -> bool:
    """Make `path` a relative link to `folder`, in one step. Returns whether it was not one before. Raises OSError."""
    target = os.path.relpath(folder, path.parent)
    if path.is_symlink() and str(path.readlink()) == target:
        return False
    path.parent.mkdir(parents=True, exist_ok=True)
    beside = path.with_name(f".{path.name}.{uuid.uuid4().hex[:8]}.tmp")
    beside.symlink_to(target)
    beside.replace(path)
    return True


@contextlib.contextmanager
def locked(folder: Path) -> Iterator[None]:
    """One process and thread at a time fetches an artifact, or sets it aside."""
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / ".fetch.lock").open("a") as handle:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield


def _is_here(file: Path, entry: FileEntry, known: KnownFiles) -> bool:
    try:
        return file.stat().st_size == entry.size and known.sha256(file) == entry.sha256
    except OSError:
        return False


def _is(file: Path, entry: FileEntry) -> bool:
    return file.stat().st_size == entry.size and sha256_file(file) == entry.sha256


def _is_hidden(path: Path, folder: Path) -> bool:
    return any(part.startswith(".") for part in path.relative_to(folder).parts)
