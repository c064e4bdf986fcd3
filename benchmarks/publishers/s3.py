"""Publish to S3, a compatible object store, or any other fsspec URL."""

from pathlib import Path
from typing import Any

from pydantic import Field

from benchmarks.publishers._layout import Content, contents
from benchmarks.publishers._upload import Files, upload
from benchmarks.publishers.base import Occasion, PublisherConfig, Receipt
from benchmarks.publishers.static_site import Folder
from hpt_core.errors import ConfigError, PublishError
from hpt_core.paths import UserAddress
from hpt_core.urls import open_url

_TYPES = {
    ".css": "text/css; charset=utf-8",
    ".html": "text/html; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".json": "application/json",
    ".md": "text/markdown; charset=utf-8",
    ".parquet": "application/vnd.apache.parquet",
    ".svg": "image/svg+xml",
}


class S3(PublisherConfig):
    """`[[publish]] name = "s3"`. Credentials come from the environment (AWS_ACCESS_KEY_ID, AWS_PROFILE ...)."""

    url: UserAddress = Field(pattern=r"^[a-z0-9]+://[^@]+$")
    """Target folder, without credentials: "s3://bucket/leaderboard"."""
    endpoint_url: UserAddress | None = None
    """Address of an S3-compatible store. None uses Amazon S3."""

    def needs(self) -> str:
        """Write access to the target."""
        return f"write access to {self.url}"

    def publish(self, report: Path, occasion: Occasion | None = None) -> Receipt:
        """Upload what the target lacks. Raises PublishError; publishing again then continues the upload."""
        occasion = occasion or Occasion()
        found = contents(report, self.samples, occasion)
        files = self._open()
        try:
            changed = upload(files, found, occasion, self.url)
        except PublishError:
            raise
        except Exception as error:  # each store raises its own classes; all are handled alike
            first = (str(error) or type(error).__name__).splitlines()[0]
            raise PublishError(
                f"cannot publish to {self.url}: {first}", "check the URL and the credentials, then publish again"
            ) from error
        return found[0].receipt(self.url, occasion, changed)

    def _open(self) -> Files:
        try:
            system, root = open_url(self.url, self.endpoint_url)
        except ConfigError as error:
            raise PublishError(error.cause, error.remedy) from error
        # fsspec writes local files in place, so that readers could see half of one.
        return Folder(Path(root)) if "file" in system.protocol else Objects(system, root)


class Objects:
    """A folder of an object store as a target (see `Files`)."""

    def __init__(self, system: Any, root: str) -> None:
        self._system = system
        self._root = root

    def read_all(self, folder: str) -> dict[str, bytes]:
        """The files in a folder, which are read at the same time if the store can do that."""
        paths = [f"{self._root}/{name}" for name in self._sizes(folder)]
        # A file that another machine replaces at this moment may be missing for some stores.
        found = self._system.cat(paths, on_error="omit") if paths else {}
        return {f"{folder}/{path.rpartition('/')[2]}": content for path, content in found.items()}

    def read(self, name: str) -> bytes | None:
        """A file's content."""
        try:
            content: bytes = self._system.cat_file(f"{self._root}/{name}")
        except FileNotFoundError:
            return None
        return content

    def write(self, name: str, content: bytes) -> None:
        """Create or replace an object. Browsers and caches keep a report's files, and ask for the others each time."""
        options = {}
        if "s3" in self._system.protocol:
            kind = _TYPES.get("." + name.rsplit(".", 1)[-1], "application/octet-stream")
            kept = "public, max-age=31536000, immutable" if name.count("/") > 1 else "no-cache"
            options = {"ContentType": kind, "CacheControl": kept}
        self._system.pipe_file(f"{self._root}/{name}", content, **options)

    def lacks(self, content: Content) -> list[str]:
        """The files that are missing or have another size. A file's name contains the hash of the whole content."""
        sizes = self._sizes(content.folder)
        return [n for n, file in content.files.items() if sizes.get(f"{content.folder}/{n}") != file.stat().st_size]

    def remove(self, name: str) -> None:
        """Remove a file or a folder."""
        try:
            self._system.rm(f"{self._root}/{name}", recursive=True)
        except FileNotFoundError:
            return

    def _sizes(self, folder: str) -> dict[str, int]:
        found = self._system.find(f"{self._root}/{folder}", detail=True)
        # Some file systems give paths with a leading slash or a protocol; all end in the path below the root.
        return {f"{folder}/{path.rpartition(f'{folder}/')[2]}": info["size"] for path, info in found.items()}
