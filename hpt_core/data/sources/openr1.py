"""OpenR1-Math-46k: competition questions with demonstrations by DeepSeek-R1 (the paper's training data)."""

from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Annotated

from pydantic import Field

from hpt_core.base import NOT_IDENTITY
from hpt_core.data.sources._located import LocatedConfig
from hpt_core.data.sources._rows import COLUMNS, READ, openr1_row, source_rows
from hpt_core.data.sources.base import MalformedRow, SourceRow
from hpt_core.parquet import read_rows


class OpenR1(LocatedConfig):
    """Rows in the schema of Elliott/Openr1-Math-46k-8192, from the Hub, train/openr1.parquet of data_dir, or `file`.
    The system message is dropped (training scripts)."""

    repo: Annotated[str, NOT_IDENTITY] = Field("Elliott/Openr1-Math-46k-8192", pattern=r"^[\w.-]+/[\w.-]+$")
    """Dataset repository on the Hub."""
    drop_think: bool = False
    """Drop the "<think>" line at the start of a demonstration (the SFT baseline's data, training scripts)."""

    def stand_in(self) -> str:
        """openr1.parquet, the name in the paper's repository."""
        return "openr1.parquet"

    def read(self, data_dir: Path | None) -> Iterator[SourceRow | MalformedRow]:
        """Every row. Raises DataError if a file is missing or has another schema."""
        rows = read_rows(self.paths(data_dir), COLUMNS, READ)
        yield from source_rows(rows, partial(openr1_row, drop_think=self.drop_think))
