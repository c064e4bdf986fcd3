"""Objects of a store at a URL. A request that fails for a passing reason is repeated."""

import contextlib
import errno
import logging
import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

from hpt_core.errors import StoreError
from hpt_core.urls import open_url, require_no_credentials

LOG = logging.getLogger("hpt.store")

PATIENCE_S = 180.0
"""Seconds for which a request is repeated while the store does not answer. A store that is away for a minute fails no
run."""
LONGEST_WAIT_S = 10.0
"""Longest pause between two attempts."""
REQUESTS = 16
"""Requests at a time."""
CONNECTION = {"connect_timeout": 10, "read_timeout": 30, "retries": {"mode": "standard", "max_attempts": 1}}
"""Settings of the client for S3. It repeats nothing by itself, so PATIENCE_S holds."""
FINAL = ("NoCredentials", "PartialCredentials", "ProfileNotFound", "InvalidRegion", "ParamValidation", "TokenRetrieval")
"""Beginnings of the names of errors that no repetition cures."""

FULL = (errno.ENOSPC, errno.EDQUOT, errno.EROFS)
"""Errors of the disk with the scratch folder."""

Item = TypeVar("Item")
Found = TypeVar("Found")


class Info(NamedTuple):
    """An object as a listing shows it."""

    size: int
    """Bytes."""
    mark: str
    """Differs after every change of the content."""
    changed: datetime
    """When it was written, by the store's clock."""


class Remote:
    """The objects below a URL. Names are relative to it. Every method raises StoreError if the store does not answer
    for PATIENCE_S, or refuses."""

    def __init__(self, url: str) -> None:
        """Connects to nothing. Raises ConfigError for a URL with credentials, or whose client is not installed."""
        require_no_credentials(url)
        self.url = url.rstrip("/")
        # A file system of its own, because its settings differ from those that a publisher uses.
        options: dict[str, Any] = {"skip_instance_cache": True} if url.startswith("s3") else {}
        if options:
            options["config_kwargs"] = CONNECTION | {"max_pool_connections": 2 * REQUESTS}
        self._system, self._root = open_url(self.url, **options)
        if options:
            self._system.retries = 1
        self.patience_s = PATIENCE_S
        """See PATIENCE_S."""

    def __str__(self) -> str:
        return self.url

    @cached_property
    def _pool(self) -> ThreadPoolExecutor:
        return ThreadPoolExecutor(REQUESTS, thread_name_prefix="store")

    def each(self, function: Callable[[Item], Found], items: Iterable[Item]) -> list[Found]:
        """The results of `function` for each item, in order, several at a time. It must not call `each` itself."""
        found = list(items)
        return [function(found[0])] if len(found) == 1 else list(self._pool.map(function, found))

    def list(self, under: str = "") -> dict[str, Info]:
        """The objects whose names begin with `under`, which is empty or the name of a folder."""
        path = f"{self._root}/{under}".rstrip("/")
        try:
            found = self._call(self._system.find, path, detail=True)
        except FileNotFoundError:
            return {}
        start = len(self._root) + 1
        names = ((str(name)[start:], info) for name, info in found.items())
        # A name becomes a path in the scratch folder, and must not lead out of it.
        return {name: _info(info) for name, info in names if not {"", ".", ".."} & set(name.split("/"))}

    def read(self, name: str) -> bytes | None:
        """The content of an object; None without it."""
        try:
            return bytes(self._call(self._system.cat_file, self._path(name)))
        except FileNotFoundError:
            return None

    def write(self, name: str, content: bytes, patience_s: float | None = None) -> None:
        """Write an object. `patience_s` is PATIENCE_S unless given."""
        with self._bucket():
            self._call(self._system.pipe_file, self._path(name), content, patience_s=patience_s)

    def create(self, name: str, content: bytes) -> bool:
        """Write an object unless it exists. Returns whether this call has created it, which is true of one caller.

        `content` must differ from that of every other caller: an answer that was lost is told from a refusal by it.
        """
        try:
            with self._bucket():
                self._call(self._system.pipe_file, self._path(name), content, mode="create")
        except FileExistsError:
            return self.read(name) == content
        return True

    def upload(self, file: Path, name: str) -> None:
        """Copy a local file to an object. Raises FileNotFoundError without the file."""
        file.stat()
        with self._bucket():
            self._call(self._system.put_file, str(file), self._path(name))

    def download(self, name: str, file: Path) -> None:
        """Copy an object to a local file. Raises FileNotFoundError without the object."""
        self._call(self._system.get_file, self._path(name), str(file))

    def copy(self, name: str, to: str) -> None:
        """Copy an object within the store. Raises FileNotFoundError without it."""
        self._call(self._system.cp_file, self._path(name), self._path(to))

    def remove(self, names: Iterable[str]) -> None:
        """Remove objects, in any order. Those that do not exist are left out."""
        self.each(self._remove, names)

    def _remove(self, name: str) -> None:
        with contextlib.suppress(FileNotFoundError):
            self._call(self._system.rm_file, self._path(name))

    def _path(self, name: str) -> str:
        return f"{self._root}/{name}"

    @contextlib.contextmanager
    def _bucket(self) -> Iterator[None]:
        """Nothing can be written into a bucket that does not exist."""
        try:
            yield
        except FileNotFoundError as error:
            if isinstance(error.filename, str) and Path(error.filename).is_absolute():
                raise  # a local file
            raise StoreError(
                f"cannot write to {self.url}: {_first(error)}", "create the bucket, or correct the URL"
            ) from error

    def _call(
        self, function: Callable[..., Any], *arguments: Any, patience_s: float | None = None, **named: Any
    ) -> Any:
        patience_s = self.patience_s if patience_s is None else patience_s
        began, wait = None, 0.5
        while True:
            try:
                return function(*arguments, **named)
            except (FileNotFoundError, FileExistsError):
                raise
            except (PermissionError, ValueError, TypeError, NotImplementedError, ImportError) as error:
                raise self._refused(error) from error
            except Exception as error:  # each client raises its own classes
                if type(error).__name__.startswith(FINAL):
                    raise self._refused(error) from error
                if isinstance(error, OSError) and error.errno in FULL:
                    raise StoreError(
                        f"cannot keep files of {self.url} here: {_first(error)}",
                        "free some space, or set HPT_CACHE to a folder on another disk",
                    ) from error
                now = time.monotonic()
                if began is None:
                    began = now
                if now + wait - began > patience_s:
                    raise StoreError(
                        f"the store {self.url} does not answer: {_first(error)}",
                        "check the network and the store's address (AWS_ENDPOINT_URL), and run again to continue",
                    ) from error
                if wait >= 2:
                    LOG.warning("the store %s does not answer (%s); trying again", self.url, _first(error))
                time.sleep(wait)
                wait = min(2 * wait, LONGEST_WAIT_S)

    def _refused(self, error: Exception) -> StoreError:
        return StoreError(
            f"the store {self.url} refuses: {_first(error)}",
            "check the credentials in the environment (AWS_ACCESS_KEY_ID, AWS_PROFILE ...) and their rights",
        )


def _first(error: Exception) -> str:
    return (str(error) or type(error).__name__).splitlines()[0]


def _info(info: dict[str, Any]) -> Info:
    times = (info.get(name) for name in ("LastModified", "mtime", "last_modified", "updated", "created"))
    changed = next((time for time in times if time is not None), None)
    if isinstance(changed, int | float):
        changed = datetime.fromtimestamp(changed, UTC)
    elif isinstance(changed, str):
        changed = datetime.fromisoformat(changed)
    elif not isinstance(changed, datetime):
        changed = datetime.now(UTC)
    if changed.tzinfo is None:
        changed = changed.replace(tzinfo=UTC)
    size = int(info.get("size") or 0)
    mark = info.get("ETag") or info.get("etag") or info.get("content_md5") or info.get("md5Hash") or ""
    # Some stores have no hash of the content. Then size and time tell.
    return Info(size, f"{mark}" or f"{size} {changed.isoformat()}", changed)
