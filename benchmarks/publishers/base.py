"""The contract of a publisher: it takes a finished report to where its readers are, and never touches the report."""

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
"""index.html at the root of a publication: the page itself is site/index.html, beside tables/ and leaderboard.md."""
LAST = ("site/index.html", "index.html")
"""Files that readers start from: written after all others, so that they never point to what is not there yet."""


class Receipt(Frozen):
    """What was published where."""

    target: str
    """Folder, URL or repository, without credentials."""
    files: tuple[str, ...]
    """Paths within the target, sorted."""
    sha256: str
    """Over the paths and contents of the files: equal where the same was published."""
    when: AwareDatetime
    changed: bool
    """False where the target already held exactly this."""


class PublisherConfig(PluginConfig, kind="publishers", package="benchmarks.publishers"):
    """Base of the publishers' configs; each adds its own fields and publishes."""

    samples: bool = False
    """Publish tables/samples.parquet too. Off by default: responses can quote the questions, and the authors of some
    benchmarks (GPQA) ask that these never appear in public text."""

    def needs(self) -> str:
        """What publishing needs, for `hpt plan`; "" where everything is at hand."""
        return ""

    def publish(self, report: Path) -> Receipt:
        """Publish the report folder `report` (leaderboard.md, site/, tables/). Publishing the same again changes
        nothing. Raises PublishError; the report itself is only read."""
        raise NotImplementedError

    def holds(self, receipt: Path) -> bool:
        """Whether what the receipt file says was published is still there, as far as this can be told at no cost."""
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
        """Paths within the publication, in the order of writing: LAST at the end."""
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
        """The receipt of a publication made now."""
        return Receipt(
            target=target, files=tuple(sorted(self.hashes)), sha256=self.sha256, when=datetime.now(UTC), changed=changed
        )
