"""Sources whose files are local or on the Hub."""

from pathlib import Path
from typing import Annotated

from pydantic import Field

from hpt_core import hub
from hpt_core.artifacts.known import KnownFiles
from hpt_core.base import NOT_IDENTITY
from hpt_core.data.sources.base import SourceConfig
from hpt_core.errors import DataError
from hpt_core.parquet import count_rows
from hpt_core.paths import UserPath, require_data_dir
from hpt_core.worker import progress


def find(file: Path, data_dir: Path | None) -> Path:
    """`file` in data_dir/train, else `file` itself. Raises DataError if neither exists, or data_dir does not."""
    places = [file] if file.is_absolute() or data_dir is None else [data_dir / "train" / file, file]
    for path in places:
        if path.is_file():
            return path
    require_data_dir(data_dir)
    folder = next((path for path in places if path.is_dir()), None)
    raise DataError(
        f"there is no file {' nor '.join(map(str, places))}" if folder is None else f"{folder} is a folder, not a file",
        "correct the path or data_dir (HPT_DATA)",
    )


def content_hash(path: Path) -> str:
    """SHA-256 of a local file, cached while the file does not change."""
    known = KnownFiles()
    found = known.sha256(path)
    known.save()
    return found


class LocatedConfig(SourceConfig):
    """Base of sources that read Parquet files of a Hub dataset, or a local file instead."""

    repo: Annotated[str, NOT_IDENTITY] = Field(pattern=r"^[\w.-]+/[\w.-]+$")
    """Dataset repository on the Hub."""
    revision: Annotated[str, NOT_IDENTITY] = "main"
    """Branch, tag or commit."""
    file: Annotated[UserPath | None, NOT_IDENTITY] = None
    """Local Parquet file to read instead of the Hub's: looked up in data_dir/train, then as given."""

    def stand_in(self) -> str:
        """Name of the file in data_dir/train that replaces the Hub's files if it exists and `file` is not set."""
        raise NotImplementedError

    def patterns(self) -> tuple[str, ...]:
        """Glob patterns of the repository's files that hold the rows."""
        return ("*.parquet",)

    def local(self, data_dir: Path | None) -> Path | None:
        """The local file, or None if the Hub is used. Raises DataError if `file` or data_dir does not exist."""
        if self.file is not None:
            return find(self.file, data_dir)
        require_data_dir(data_dir)
        path = data_dir / "train" / self.stand_in() if data_dir else None
        return path if path and path.is_file() else None

    def needs(self, data_dir: Path | None) -> str:
        """The missing file, or a download."""
        try:
            return "" if self.local(data_dir) else f"network: {self.repo} from the Hub"
        except DataError:
            return f"a file {self.file}" if self.file else f"a folder {data_dir}"

    def content(self, data_dir: Path | None) -> dict[str, object]:
        """The local file's content hash, or the Hub repository and revision, with the settings that change the rows."""
        how = self.identity()
        path = self.local(data_dir)
        if path is not None:
            return {**how, "sha256": content_hash(path)}
        return {**how, "repo": self.repo, "revision": self.revision, "files": list(self.patterns())}

    def count(self, data_dir: Path | None) -> int | None:
        """Total rows, from the files' footers."""
        return count_rows(self.paths(data_dir))

    def paths(self, data_dir: Path | None) -> list[Path]:
        """The Parquet files, downloaded if necessary. Raises DataError."""
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
