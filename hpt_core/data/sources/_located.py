"""Where a source's file is: on this machine, else on the Hub."""

from pathlib import Path
from typing import Annotated

from pydantic import Field

from hpt_core import hub
from hpt_core.artifacts.known import KnownFiles
from hpt_core.base import NOT_IDENTITY
from hpt_core.data.sources._parquet import count_rows
from hpt_core.data.sources.base import SourceConfig
from hpt_core.errors import DataError
from hpt_core.worker import progress


def find(file: Path, data_dir: Path | None) -> Path:
    """`file` in data_dir/train, else as it stands. Raises DataError where it is in neither place."""
    places = [file] if file.is_absolute() or data_dir is None else [data_dir / "train" / file, file]
    for path in places:
        if path.is_file():
            return path
    raise DataError(
        f"there is no file {' nor '.join(str(p) for p in places)}", "correct the path or data_dir (HPT_DATA)"
    )


def content_hash(path: Path) -> str:
    """SHA-256 of a local file; one that did not change since it was hashed is not read again."""
    known = KnownFiles()
    found = known.sha256(path)
    known.save()
    return found


class LocatedConfig(SourceConfig):
    """Base of the sources whose rows are Parquet files of a Hub dataset, with a local file that may stand in."""

    repo: Annotated[str, NOT_IDENTITY] = Field(pattern=r"^[\w.-]+/[\w.-]+$")
    """Dataset repository on the Hub."""
    revision: Annotated[str, NOT_IDENTITY] = "main"
    """Branch, tag or commit."""
    file: Annotated[Path | None, NOT_IDENTITY] = None
    """Local Parquet file to take instead of the Hub's: as it stands, or in data_dir/train."""

    def stand_in(self) -> str:
        """Name of the file in data_dir/train that is taken where it is there and `file` is unset."""
        raise NotImplementedError

    def patterns(self) -> tuple[str, ...]:
        """Which of the repository's files hold the rows."""
        return ("*.parquet",)

    def local(self, data_dir: Path | None) -> Path | None:
        """The local file, or None where the Hub's are taken. Raises DataError where `file` is not there."""
        if self.file is not None:
            return find(self.file, data_dir)
        path = data_dir / "train" / self.stand_in() if data_dir else None
        return path if path and path.is_file() else None

    def needs(self, data_dir: Path | None) -> str:
        """The missing file, or a download."""
        try:
            return "" if self.local(data_dir) else f"network: {self.repo} from the Hub"
        except DataError:
            return f"a file {self.file}"

    def content(self, data_dir: Path | None) -> dict[str, object]:
        """The local file's content hash, or the Hub's repository and revision, beside what changes the rows."""
        how = self.identity()
        path = self.local(data_dir)
        if path is not None:
            return {**how, "sha256": content_hash(path)}
        return {**how, "repo": self.repo, "revision": self.revision, "files": list(self.patterns())}

    def count(self, data_dir: Path | None) -> int | None:
        """Rows of the files, by their footers."""
        return count_rows(self.paths(data_dir))

    def paths(self, data_dir: Path | None) -> list[Path]:
        """The Parquet files, downloaded where they are not here yet. Raises DataError."""
        path = self.local(data_dir)
        if path is not None:
            return [path]
        instead = f"put the rows into train/{self.stand_in()} of data_dir (HPT_DATA)"
        reporting = progress("MB")
        snapshot = hub.fetch(self.repo, self.revision, self.patterns(), "dataset", DataError, instead, reporting)
        found = sorted(p for pattern in self.patterns() for p in snapshot.folder.rglob(pattern))
        if not found:
            raise DataError(f"{self.repo} at {self.revision} has no file {self.patterns()[0]}", instead)
        return found
