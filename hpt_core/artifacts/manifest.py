"""The manifest of an artifact: how it was produced, from which inputs, and its files."""

from pathlib import Path, PurePosixPath
from typing import Any

from pydantic import AwareDatetime, Field

from hpt_core.artifacts.known import KnownFiles
from hpt_core.base import Frozen
from hpt_core.files import sha256_json


class FileEntry(Frozen):
    """One file of an artifact."""

    path: str
    """Relative to the artifact's folder in the store, with forward slashes."""
    size: int
    """Bytes."""
    sha256: str
    rows: int | None = None
    """Row count of a Parquet file."""


class Cost(Frozen):
    """Resources used by the last attempt to produce the artifact."""

    seconds: float = 0.0
    """Wall-clock time."""
    cpu_seconds: float = 0.0
    """CPU time of the worker and all its descendants."""
    peak_memory_bytes: int = 0
    """Largest resident size of any single worker process."""


class Manifest(Frozen):
    """manifest.json. It is written last and makes the artifact exist."""

    stage: str
    """Key of the stage that produced it: "train.hpt". Two configs may share an artifact under different keys."""
    kind: str
    fingerprint: str
    inputs: dict[str, str]
    """Role of the input -> hash of the output that it takes."""
    config: Any
    """The stage's own resolved config, as fingerprinted."""
    versions: dict[str, str]
    """Component -> version, as fingerprinted."""
    files: tuple[FileEntry, ...]
    outputs: dict[str, str]
    """Name of each output -> its hash, which later stages use as an input."""
    facts: dict[str, Any] = Field(default_factory=dict)
    """Small results to show: row counts, scores."""
    packages: dict[str, str] = Field(default_factory=dict)
    hardware: dict[str, Any] = Field(default_factory=dict)
    git_commit: str | None = None
    start: AwareDatetime
    end: AwareDatetime
    cost: Cost = Field(default_factory=Cost)

    @property
    def rows(self) -> int:
        """Total rows of all Parquet files."""
        return sum(entry.rows or 0 for entry in self.files)

    @property
    def size(self) -> int:
        """Total bytes of all files."""
        return sum(entry.size for entry in self.files)


def describe_files(folder: Path, known: KnownFiles) -> tuple[FileEntry, ...]:
    """Entries of every file under folder/output, sorted by path, without hidden files and folders."""
    found = []
    for path in sorted((folder / "output").rglob("*")):
        relative = path.relative_to(folder)
        if not path.is_file() or any(part.startswith(".") for part in relative.parts):
            continue
        rows = None
        if path.suffix == ".parquet":
            import pyarrow.parquet as pq

            rows = pq.read_metadata(path).num_rows
        found.append(
            FileEntry(path=relative.as_posix(), size=path.stat().st_size, sha256=known.sha256(path), rows=rows)
        )
    return tuple(found)


def outputs_hash(files: tuple[FileEntry, ...], under: str) -> str:
    """Hash of the contents and relative paths of the files at or under output/`under`.

    Raises ValueError if there is no such file.
    """
    top = PurePosixPath("output") / under
    paths = [(PurePosixPath(f.path), f.sha256) for f in files]
    parts = {str(path.relative_to(top)): sha for path, sha in paths if path.is_relative_to(top)}
    if not parts:
        raise ValueError(f"no file at {top}")
    return sha256_json(parts)
