"""The files of a site, which are written only if their inputs have changed."""

import contextlib
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

from hpt_core.files import replacing, sha256_json, write_text

STATE = ".state.json"
"""What each file was made of. The name begins with a dot, so that web servers and publishers leave it out."""


class SiteFiles:
    """The files in the folder of a site, each with the key of its inputs."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._before = _state(folder)
        self._now: dict[str, str] = {}
        self.written: list[str] = []
        """Paths of the files that were written, relative to the folder."""

    def put(self, path: str, key: object, make: Callable[[], bytes | None]) -> bool:
        """Write `make()` to `path` unless the file was made of an equal `key` before. None makes no file. Returns
        whether there is one.

        The file appears whole. It is not flushed to the disk, because it can be built again. Raises OSError.
        """
        made_of, target = sha256_json(key), self.folder / path
        if self._before.get(path) != made_of or not target.is_file():
            content = make()
            if content is None:
                return False
            with replacing(target, durable=False) as beside:
                beside.write_bytes(content)
            self.written.append(path)
        self._now[path] = made_of
        return True

    def put_json(self, path: str, key: object, make: Callable[..., Any], *arguments: Any) -> None:
        """Write the JSON value `make(*arguments)`, as `put` does."""

        def content() -> bytes | None:
            value = make(*arguments)
            return None if value is None else as_json(value)

        self.put(path, key, content)

    def put_value(self, path: str, value: Any) -> None:
        """Write a JSON value unless the file holds it."""
        self.put(path, value, lambda: as_json(value))

    def version(self) -> str:
        """Changes if any file does."""
        return sha256_json(self._now)[:16]

    def finish(self) -> None:
        """Remove the files that no longer belong to the site, and record what the others were made of."""
        for path in self._before.keys() - self._now.keys():
            (self.folder / path).unlink(missing_ok=True)
            with contextlib.suppress(OSError):  # also: not empty
                (self.folder / path).parent.rmdir()
        if self._now != self._before:
            write_text(self.folder / STATE, json.dumps(self._now, sort_keys=True))


def as_json(value: Any) -> bytes:
    """The value as compact JSON. Raises ValueError for NaN and infinities, which browsers cannot read."""
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False, allow_nan=False).encode()


def _state(folder: Path) -> dict[str, str]:
    """What the files were made of; nothing if a build was interrupted or another version wrote it."""
    try:
        content = json.loads((folder / STATE).read_bytes())
    except (OSError, ValueError):
        return {}
    inside = os.path.normpath
    return {p: k for p, k in content.items() if isinstance(k, str) and not inside(p).startswith(("..", "/"))}
