"""The contract of a publisher, which copies a finished report to where readers find it and never changes the report."""

import hashlib
from datetime import UTC, datetime
from pathlib import Path

from pydantic import AwareDatetime

from hpt_core.base import Frozen
from hpt_core.errors import PublishError
from hpt_core.files import sha256_file, sha256_json
from hpt_core.plugins import PluginConfig

REDIRECT = """<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta http-equiv="refresh" content="0; url=site/index.html">
<title>Leaderboard</title>
<p><a href="site/index.html">Leaderboard</a></p>
</html>
"""
"""index.html at the root of a publication. It redirects to site/index.html, beside tables/ and leaderboard.md."""
LAST = ("site/index.html", "index.html")
"""Readers' entry pages. They are written last, so they never link to a missing file."""


class Receipt(Frozen):
    """Record of a publication."""

    target: str
    """Folder, URL or repository, without credentials."""
    files: tuple[str, ...]
    """Paths within the target, sorted."""
    sha256: str
    """Hash of the files' paths and contents. Equal publications have equal hashes."""
    when: AwareDatetime
    changed: bool
    """False if the target already held exactly these files."""


class PublisherConfig(PluginConfig, kind="publishers", package="benchmarks.publishers"):
    """Base of the publishers' configs."""

    samples: bool = False
    """Publish tables/samples.parquet too. Off by default: responses can quote the questions, and the authors of some
    benchmarks (GPQA) ask that their questions never appear in public text."""

    def needs(self) -> str:
        """What publishing needs, for `hpt plan`; "" if nothing is missing."""
        return ""

    def publish(self, report: Path) -> Receipt:
        """Publish the report folder `report` (leaderboard.md, site/, tables/), which is only read. Publishing it again
        changes nothing. Raises PublishError."""
        raise NotImplementedError

    def holds(self, receipt: Path) -> bool:
        """Whether the publication in the receipt file still exists, as far as a cheap check can tell."""
        return True


class Content:
    """The files of a publication and their hashes."""

    def __init__(self, report: Path, samples: bool) -> None:
        if not (report / "site" / "index.html").is_file():
            raise PublishError(f"{report} holds no report: site/index.html is missing", "run the report stage first")
        paths = [report / "leaderboard.md", *(report / "site").rglob("*"), *(report / "tables").glob("*.parquet")]
        self._sources = {
            path.relative_to(report).as_posix(): path
            for path in paths
            if path.is_file() and (samples or path.name != "samples.parquet")
        }
        self.hashes = {name: sha256_file(path) for name, path in self._sources.items()}
        self.hashes["index.html"] = hashlib.sha256(REDIRECT.encode()).hexdigest()
        self.sha256 = sha256_json(self.hashes)

    @property
    def names(self) -> list[str]:
        """Paths within the publication, in writing order, with LAST at the end."""
        return [*sorted(set(self.hashes) - set(LAST)), *LAST]

    def read(self, name: str) -> bytes:
        """Content of one file."""
        return REDIRECT.encode() if name == "index.html" else self._sources[name].read_bytes()

    def write(self, folder: Path) -> None:
        """Write every file into `folder`."""
        for name in self.names:
            path = folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(self.read(name))

    def receipt(self, target: str, changed: bool) -> Receipt:
        """The receipt for publishing now."""
        return Receipt(
            target=target, files=tuple(sorted(self.hashes)), sha256=self.sha256, when=datetime.now(UTC), changed=changed
        )
