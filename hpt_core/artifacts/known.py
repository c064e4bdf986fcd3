"""This user's caches: hashes of files by path, size and modification time, and values by their inputs."""

import contextlib
import json
import os
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any, ClassVar

from hpt_core.files import sha256_file, sha256_json, write_json
from hpt_core.paths import expand_named


def cache_folder() -> Path:
    """Folder of this user's caches: HPT_CACHE, else hpt/ in XDG_CACHE_HOME or ~/.cache."""
    if named := os.environ.get("HPT_CACHE"):
        return Path(expand_named(named, "HPT_CACHE"))
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "hpt"


def remembered(kind: str, facts: Any, make: Callable[[], Any]) -> Any:
    """The JSON value `make()`, kept in this user's cache by the hash of all that it depends on (`facts`)."""
    path = cache_folder() / kind / f"{sha256_json(facts)}.json"
    with contextlib.suppress(OSError, ValueError):
        return json.loads(path.read_bytes())
    value = make()
    with contextlib.suppress(OSError):
        write_json(path, value)
    return value


class KnownFiles:
    """SHA-256 of files, remembered between runs in one JSON file.

    A file keeps its hash while its size and modification time stay the same; `fresh` hashes it again. The cache may
    lose entries, for example when two processes write it at once; they are then hashed again.
    """

    _checked: ClassVar[set[tuple[str, int, int]]] = set()
    """(Path, size, modification time) of files that this process hashed itself. `fresh` does not hash them twice."""

    def __init__(self, file: Path | None = None) -> None:
        self._file = file or cache_folder() / "known-files.json"
        self._lock = threading.Lock()
        self._entries = self._load()
        self._learnt: dict[str, list[object]] = {}

    def _load(self) -> dict[str, list[object]]:
        try:
            found = json.loads(self._file.read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return {}
        return found if isinstance(found, dict) else {}

    def sha256(self, path: Path, fresh: bool = False) -> str:
        """Hash of the file at `path`. Raises OSError if it cannot be read."""
        status = path.stat()
        key, mark = str(path.resolve()), [status.st_size, status.st_mtime_ns]
        checked = (key, status.st_size, status.st_mtime_ns)
        with self._lock:
            entry = self._entries.get(key)
        if entry and entry[:2] == mark and (not fresh or checked in self._checked):
            return str(entry[2])
        found = sha256_file(path)
        with self._lock:
            self._entries[key] = self._learnt[key] = [*mark, found]
            self._checked.add(checked)
        return found

    def save(self) -> None:
        """Write the new hashes and leave out files that no longer exist. Ignores a cache that cannot be written."""
        with self._lock:
            if not self._learnt:
                return
            # Keep what other processes have written since this one loaded the file.
            self._entries = self._load() | self._learnt
            kept = {path: entry for path, entry in self._entries.items() if Path(path).exists()}
            self._learnt = {}
        try:
            write_json(self._file, kept)
        except OSError:
            return
