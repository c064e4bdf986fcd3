"""The contract of a training data source."""

from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from hpt_core.plugins import PluginConfig


class SourceRow(NamedTuple):
    """One question of a source."""

    where: str
    """File and row number ("train.parquet row 17", counted from 1), for error messages."""
    question_id: str
    """The source's own id; "" derives one from the question."""
    question: str
    gold: str
    kind: str
    """Name of the verifier."""
    demonstration: str | None
    family: str


class MalformedRow(NamedTuple):
    """A row that cannot be read, and why."""

    where: str
    reason: str


class SourceConfig(PluginConfig, kind="sources", package="hpt_core.data.sources"):
    """Base of the sources' configs."""

    def needs(self, data_dir: Path | None) -> str:
        """What the source needs, for `hpt plan`; "" if nothing is missing."""
        return ""

    def content(self, data_dir: Path | None) -> dict[str, object]:
        """What decides the rows, for fingerprints: content hashes of local files, repository and revision of Hub data,
        parameters and generator version of generated data. Raises DataError for a missing file."""
        return self.identity()

    def kinds(self, data_dir: Path | None) -> tuple[str, ...]:
        """Verifiers that the rows may name. Their code is part of the fingerprint of verified data."""
        return ("math",)

    def count(self, data_dir: Path | None) -> int | None:
        """Number of rows, for progress; None if it is unknown until all are read."""
        return None

    def read(self, data_dir: Path | None) -> Iterator[SourceRow | MalformedRow]:
        """Every row, in the source's order. Raises DataError if a file is missing or has the wrong format."""
        raise NotImplementedError
