"""The contract of a training data source."""

from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from hpt_core.plugins import PluginConfig


class SourceRow(NamedTuple):
    """One question as a source gives it."""

    where: str
    """File and row number ("train.parquet row 17", counted from 1), for error messages."""
    question_id: str
    """The source's own id; "" to have one derived from the question."""
    question: str
    gold: str
    kind: str
    """Which verifier, by name."""
    demonstration: str | None
    family: str


class MalformedRow(NamedTuple):
    """A row that cannot be read, and why."""

    where: str
    reason: str


class SourceConfig(PluginConfig, kind="sources", package="hpt_core.data.sources"):
    """Base of the sources' configs."""

    def needs(self, data_dir: Path | None) -> str:
        """What the source needs, for `hpt plan`; "" where everything is at hand."""
        return ""

    def content(self, data_dir: Path | None) -> dict[str, object]:
        """What decides the rows, for fingerprints: local files by content hash, Hub data by repository
        and revision, generated data by its parameters and generator version. Raises DataError for a missing file."""
        return self.identity()

    def kinds(self, data_dir: Path | None) -> tuple[str, ...]:
        """Which verifiers the rows may name; their code is part of what identifies verified data."""
        return ("math",)

    def count(self, data_dir: Path | None) -> int | None:
        """How many rows there are, for progress; None where only reading them tells."""
        return None

    def read(self, data_dir: Path | None) -> Iterator[SourceRow | MalformedRow]:
        """Every row, in the source's order. Raises DataError where a file is missing or is not of its format."""
        raise NotImplementedError
