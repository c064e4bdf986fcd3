"""Publish into a folder that a web server or a file share serves."""

import errno
import shutil
from pathlib import Path

from pydantic import ValidationError

from benchmarks.publishers._layout import INDEX, LIST, Content, contents, current, pages
from benchmarks.publishers._upload import ENTRIES, entries, upload
from benchmarks.publishers.base import Occasion, PublisherConfig, Receipt
from hpt_core.errors import PublishError
from hpt_core.files import replacing, sha256_file
from hpt_core.paths import UserPath


class StaticSite(PublisherConfig):
    """`[[publish]] name = "static_site"`."""

    path: UserPath
    """Target folder. Readers open its index.html. Earlier reports stay in runs/."""

    def publish(self, report: Path, occasion: Occasion | None = None) -> Receipt:
        """Publish into `path`. Raises PublishError if `path` holds something else or cannot be written."""
        occasion = occasion or Occasion()
        found = contents(report, self.samples, occasion)
        target = self.path.absolute()
        try:
            _require_place(target)
            if target.is_symlink():
                _replace_link(target, found, occasion)
            changed = upload(Folder(target), found, occasion, str(target))
        except OSError as error:
            raise PublishError(
                f"cannot write {error.filename or target}: {error.strerror}", "free the space or choose another path"
            ) from error
        return found[0].receipt(str(target), occasion, changed)

    def holds(self, receipt: Path) -> bool:
        """Whether `path` still has the receipt's files, and still shows them first if it did."""
        try:
            published = Receipt.model_validate_json(receipt.read_bytes())
        except (OSError, ValidationError):
            return False
        folder = Folder(self.path.absolute())
        if not published.folder or not all((folder.root / published.folder / n).is_file() for n in published.files):
            return False
        runs = entries(folder)
        shown = current(runs)
        # A site that was published later shows this report's run, too.
        is_first = shown is not None and (shown.top == "sites" or published.sha256.startswith(shown.key))
        return folder.read(INDEX) == pages(runs)[INDEX] and (is_first or not published.board)


class Folder:
    """A folder as a target (see `Files`)."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def read_all(self, folder: str) -> dict[str, bytes]:
        """The files in a folder, without temporary ones. Another publisher may remove some meanwhile."""
        names = [path.relative_to(self.root).as_posix() for path in (self.root / folder).glob("[!.]*")]
        return {name: content for name in names if (content := self.read(name)) is not None}

    def read(self, name: str) -> bytes | None:
        """A file's content."""
        try:
            return (self.root / name).read_bytes()
        except (FileNotFoundError, NotADirectoryError, IsADirectoryError):
            return None

    def write(self, name: str, content: bytes) -> None:
        """Replace a file in one step."""
        with replacing(self.root / name) as beside:
            beside.write_bytes(content)

    def lacks(self, content: Content) -> list[str]:
        """The files with another hash than in the content."""
        return [name for name, sha in content.hashes.items() if self._hash(f"{content.folder}/{name}") != sha]

    def _hash(self, name: str) -> str | None:
        try:
            return sha256_file(self.root / name)
        except (FileNotFoundError, NotADirectoryError, IsADirectoryError):
            return None

    def remove(self, name: str) -> None:
        """Remove a file or a folder."""
        path = self.root / name
        if not path.is_dir():
            path.unlink(missing_ok=True)
            return
        while path.is_dir():
            try:
                shutil.rmtree(path)
            except FileNotFoundError:  # another publisher removes it, too
                continue
            except OSError as error:
                if error.errno != errno.ENOTEMPTY:  # another one writes into it
                    raise


def _require_place(target: Path) -> None:
    """Raise PublishError if the target is neither a publication of ours, nor empty, nor an upload that was stopped."""
    if target.is_symlink():
        is_ours = target.readlink().name.startswith(f".{target.name}-")
    else:
        present = {path.name for path in target.glob("[!.]*")} if target.is_dir() else set()
        begun = {INDEX, LIST, "runs", "sites", ENTRIES}
        is_ours = not target.exists() or (target.is_dir() and (INDEX in present or present <= begun))
    if not is_ours:
        raise PublishError(f"{target} exists and is not a publication of ours", "choose another path, or move it away")


def _replace_link(target: Path, found: list[Content], occasion: Occasion) -> None:
    """Replace a link, which earlier versions published, by a folder that has the new report."""
    beside = target.with_name(f".{target.name}.new")
    upload(Folder(beside), found, occasion, str(target))
    former = target.readlink().name
    target.unlink()
    beside.rename(target)
    for folder in {*target.parent.glob(f".{target.name}-{'[0-9a-f]' * 16}"), target.with_name(former)}:
        shutil.rmtree(folder, ignore_errors=True)
