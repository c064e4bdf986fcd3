"""The manifest of an output: what made it, of what, and which files it consists of."""

from pathlib import Path, PurePosixPath
from typing import Any

from pydantic import AwareDatetime, Field

from hpt_core.artifacts.known import KnownFiles
from hpt_core.base import Frozen
from hpt_core.files import sha256_json


class FileEntry(Frozen):
    """One file of an output."""

    path: str
    """Relative to the output's folder in the store, with forward slashes."""
    size: int
    """Bytes."""
    sha256: str
    rows: int | None = None
    """Rows, for Parquet."""


class Cost(Frozen):
    """What making an output took, over every attempt that the manifest knows of (the last one)."""

    seconds: float = 0.0
    """Wall clock."""
    cpu_seconds: float = 0.0
    """Of the worker and all its descendants."""
    peak_memory_bytes: int = 0
    """Largest resident size of any one process of the worker."""


class Manifest(Frozen):
    """manifest.json: written last, it makes the output exist."""

    stage: str
    """Key of the stage that made it: "train.hpt". Two configs may share an output under different keys."""
    kind: str
    fingerprint: str
    inputs: dict[str, str]
    """Role -> output hash of the input."""
    config: Any
    """The stage's own resolved config, as it went into the fingerprint."""
    versions: dict[str, str]
    """Component -> version, as they went into the fingerprint."""
    files: tuple[FileEntry, ...]
    outputs: dict[str, str]
    """Name -> hash of what later stages take as their input."""
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
        """Rows of all Parquet files together."""
        return sum(entry.rows or 0 for entry in self.files)

    @property
    def size(self) -> int:
        """Bytes of all files together."""
        return sum(entry.size for entry in self.files)


def describe_files(folder: Path, known: KnownFiles) -> tuple[FileEntry, ...]:
    """Entries of every file under folder/output, sorted by path; what is hidden, or in a hidden folder, is left out."""
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
    """Hash of the files at or under output/`under`: their paths below it and their contents, not where they lie."""
    top = PurePosixPath("output") / under
    paths = [(PurePosixPath(f.path), f.sha256) for f in files]
    parts = {str(path.relative_to(top)): sha for path, sha in paths if path.is_relative_to(top)}
    if not parts:
        raise ValueError(f"no file at {top}")
    return sha256_json(parts)
