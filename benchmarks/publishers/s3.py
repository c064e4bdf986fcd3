"""Publish to S3, a compatible object store, or any other fsspec URL.

Readers' entry pages are uploaded after everything they link to. publication.json records the hashes of the published
files. Files about to change are first marked in it without a hash; the complete record is written at the end.
"""

import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from pydantic import Field

from benchmarks.publishers.base import Content, PublisherConfig, Receipt
from hpt_core.errors import ConfigError, PublishError
from hpt_core.paths import UserAddress
from hpt_core.urls import open_url

if TYPE_CHECKING:
    from pathlib import Path

RECORD = "publication.json"
_TYPES = {
    ".html": "text/html; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".md": "text/markdown; charset=utf-8",
    ".json": "application/json",
    ".parquet": "application/vnd.apache.parquet",
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

    def publish(self, report: "Path") -> Receipt:
        """Upload changed files. Raises PublishError; publishing again then completes or reverts the upload."""
        content = Content(report, self.samples)
        system, root = self._open()
        try:
            recorded = _recorded(system, f"{root}/{RECORD}")
            if recorded == content.hashes:
                return content.receipt(self.url, changed=False)
            _record(system, f"{root}/{RECORD}", {**recorded, **_in_doubt(recorded, content.hashes)})
            for name in content.names:
                if recorded.get(name) != content.hashes[name]:
                    _put(system, f"{root}/{name}", content.read(name))
            for name in sorted(set(recorded) - set(content.hashes)):
                if system.exists(f"{root}/{name}"):
                    system.rm(f"{root}/{name}")
            _record(system, f"{root}/{RECORD}", content.hashes)
        except Exception as error:  # each store raises its own classes; all are handled alike
            first = (str(error) or type(error).__name__).splitlines()[0]
            raise PublishError(
                f"cannot publish to {self.url}: {first}", "check the URL and the credentials, then publish again"
            ) from error
        return content.receipt(self.url, changed=True)

    def _open(self) -> tuple[Any, str]:
        try:
            return open_url(self.url, self.endpoint_url)
        except ConfigError as error:
            raise PublishError(error.cause, error.remedy) from error


def _recorded(system: Any, path: str) -> dict[str, str]:
    """Hashes of the last publication's files; empty if there is none or its record cannot be read."""
    if not system.exists(path):
        return {}
    try:
        files = json.loads(system.cat_file(path))["files"]
    except (ValueError, KeyError, TypeError):
        return {}
    return {str(name): str(digest) for name, digest in files.items()}


def _in_doubt(recorded: Mapping[str, str], coming: Mapping[str, str]) -> dict[str, str]:
    """Files about to change, without a hash, so that none counts as published if the upload stops."""
    return {name: "" for name, digest in coming.items() if recorded.get(name) != digest}


def _record(system: Any, path: str, hashes: Mapping[str, str]) -> None:
    _put(system, path, json.dumps({"files": hashes}, sort_keys=True).encode())


def _put(system: Any, path: str, content: bytes) -> None:
    kind = _TYPES.get("." + path.rsplit(".", 1)[-1], "application/octet-stream")
    options = {"ContentType": kind} if "s3" in system.protocol else {}
    system.pipe_file(path, content, **options)
