"""The manifest of an artifact: how it was produced, from which inputs, and its files."""

from collections.abc import Callable, Iterable
from pathlib import Path, PurePosixPath
from typing import Annotated, Any, NamedTuple

from pydantic import AfterValidator, AwareDatetime, Field

from hpt_core.artifacts.known import KnownFiles
from hpt_core.base import Frozen
from hpt_core.errors import StoreError
from hpt_core.files import sha256_json
from hpt_core.paths import check_inside


class FileEntry(Frozen):
    """One file of an artifact."""

    path: Annotated[str, AfterValidator(check_inside)]
    """Relative to the artifact's folder in the store, with forward slashes. It cannot leave that folder."""
    size: int
    """Bytes."""
    sha256: str
    rows: int | None = None
    """Row count of a Parquet file."""


class Damage(NamedTuple):
    """A file that does not match its entry."""

    path: Path
    what: str

    def __str__(self) -> str:
        return f"{self.path} {self.what}"


def damage(folder: Path, files: Iterable[FileEntry], sha256: Callable[[Path], str]) -> list[Damage]:
    """The files of `folder` that are missing or differ from their entries in size or hash.

    Raises StoreError for a file that cannot be read. The file may be intact: a disk or a server may be away.
    """
    wrong = []
    for entry in files:
        path = folder / entry.path
        try:
            size = path.stat().st_size
            if size != entry.size:
                wrong.append(Damage(path, f"has {size} bytes instead of {entry.size}"))
            elif sha256(path) != entry.sha256:
                wrong.append(Damage(path, "has changed since it was written"))
        except (FileNotFoundError, NotADirectoryError):
            wrong.append(Damage(path, "is missing"))
        except OSError as error:
            raise unreadable(path, error) from error
    return wrong


def unreadable(path: Path, error: OSError) -> StoreError:
    """The error for a file that exists and cannot be read."""
    return StoreError(
        f"cannot read {path}: {error.strerror or error}",
        "check the file's permissions and the store's disk, and run again; if the file is lost, delete it",
    )


class Cost(Frozen):
    """Resources used by all attempts to produce the artifact."""

    seconds: float = 0.0
    """Wall-clock time. An attempt that was killed counts until it last wrote to a file."""
    cpu_seconds: float = 0.0
    """CPU time of the worker and all its descendants, in the attempts that were not killed and did not fail."""
    peak_memory_bytes: int = 0
    """Largest resident size of any single worker process."""
    attempts: int = 1
    device_hours: float | None = 0.0
    """Hours of GPUs, or of the machine if it has none; 0 for stages that do not need them. None if their number is
    unknown, as behind an endpoint, or with a launcher of several machines."""
    energy_kwh: float | None = None
    """Energy of the GPUs; None if it was not measured."""
    money: float | None = None
    """Cost in the currency of the prices in the config; None without prices."""


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
