"""Publish into a folder that a web server or a file share serves.

The folder is a symbolic link to a version beside it. A new version is written completely, then the link is switched in
one step. So readers see either the old leaderboard or the new one, even if publishing is interrupted.
"""

import os
import shutil
import uuid
from pathlib import Path

from pydantic import ValidationError

from benchmarks.publishers.base import Content, PublisherConfig, Receipt
from hpt_core.errors import PublishError
from hpt_core.files import replacing_folder, sha256_file
from hpt_core.paths import UserPath


class StaticSite(PublisherConfig):
    """`[[publish]] name = "static_site"`."""

    path: UserPath
    """Target folder. It becomes a link to .NAME-VERSION beside it. The previous version is kept for current readers."""

    def publish(self, report: Path) -> Receipt:
        """Publish into `path`. Raises PublishError if `path` holds something else or cannot be written."""
        content = Content(report, self.samples)
        target = self.path.absolute()
        version = target.with_name(f".{target.name}-{content.sha256[:16]}")
        try:
            previous = self._previous(target)
            if previous == version and _holds(version, content):
                return content.receipt(str(target), changed=False)
            with replacing_folder(version) as beside:
                content.write(beside)
            _switch(target, version)
            self._forget(target, {version, previous})
        except OSError as error:
            raise PublishError(
                f"cannot write {error.filename or target}: {error.strerror}", "free the space or choose another path"
            ) from error
        return content.receipt(str(target), changed=True)

    def holds(self, receipt: Path) -> bool:
        """Whether `path` still shows the receipt's version."""
        try:
            published = Receipt.model_validate_json(receipt.read_bytes())
        except (OSError, ValidationError):
            return False
        target = self.path.absolute()
        shown = target.is_symlink() and target.readlink().name == f".{target.name}-{published.sha256[:16]}"
        return shown and all((target / name).is_file() for name in published.files)

    @staticmethod
    def _previous(target: Path) -> Path | None:
        """The version shown now, or None. Raises PublishError if `target` is not a publication."""
        if target.is_symlink():
            shown = target.parent / target.readlink()
            if shown.name.startswith(f".{target.name}-"):
                return shown
        elif not target.exists() or (target.is_dir() and not any(target.iterdir())):
            return None
        raise PublishError(f"{target} exists and is not a publication of ours", "choose another path, or move it away")

    @staticmethod
    def _forget(target: Path, kept: set[Path | None]) -> None:
        """Remove older versions."""
        for folder in target.parent.glob(f".{target.name}-{'[0-9a-f]' * 16}"):
            if folder not in kept:
                shutil.rmtree(folder)


def _holds(folder: Path, content: Content) -> bool:
    """Whether `folder` contains exactly the publication's files."""
    present = {path.relative_to(folder).as_posix(): path for path in folder.rglob("*") if path.is_file()}
    return set(present) == set(content.hashes) and all(
        sha256_file(path) == content.hashes[name] for name, path in present.items()
    )


def _switch(target: Path, version: Path) -> None:
    """Point `target` to `version` in one step."""
    if target.is_dir() and not target.is_symlink():
        target.rmdir()  # an empty folder created in advance
    link = target.with_name(f".{target.name}.{uuid.uuid4().hex[:8]}.tmp")
    link.symlink_to(version.name)
    os.replace(link, target)  # noqa: PTH105
