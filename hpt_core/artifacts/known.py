"""Hashes of files that were hashed before, recognized by path, size and modification time."""

import json
import os
import threading
from pathlib import Path
from typing import ClassVar

from hpt_core.files import sha256_file, write_json


def cache_folder() -> Path:
    """Folder of this user's caches: HPT_CACHE, else hpt/ in XDG_CACHE_HOME or ~/.cache."""
    if named := os.environ.get("HPT_CACHE"):
        return Path(named)
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "hpt"


class KnownFiles:
    """SHA-256 by path, remembered between runs in one JSON file.

    A file whose size and modification time did not change keeps its hash; `fresh` hashes it again. Losing the
    cache, or an entry of it to another process that writes at the same time, costs time and nothing else.
    """

    _checked: ClassVar[set[tuple[str, int, int]]] = set()
    """Files that this process has hashed itself, with size and modification time: once is enough."""

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
        """Hash of the file at `path`. Raises OSError where it cannot be read."""
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
        """Write what was learnt, leaving out files that are gone. A cache that cannot be written is no error."""
        with self._lock:
            if not self._learnt:
                return
            # Others may have written since this one read: what they learnt is kept.
            self._entries = self._load() | self._learnt
            kept = {path: entry for path, entry in self._entries.items() if Path(path).exists()}
            self._learnt = {}
        try:
            write_json(self._file, kept)
        except OSError:
            return
