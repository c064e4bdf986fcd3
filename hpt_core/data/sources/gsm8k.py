"""GSM8K: grade-school word problems with short worked solutions."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field

from hpt_core.base import NOT_IDENTITY
from hpt_core.data.sources._located import LocatedConfig
from hpt_core.data.sources._rows import COLUMNS, READ, in_field, openr1_row, source_rows
from hpt_core.data.sources.base import MalformedRow, SourceRow
from hpt_core.parquet import is_text, open_file, read_rows
from hpt_core.rows import Row, text_of

_HUB_COLUMNS = {"question": is_text, "answer": is_text}
_CALCULATOR = re.compile(r"<<[^<>]*>>")


class GSM8K(LocatedConfig):
    """One split of the Hub dataset, or train/gsm8k_demos.parquet of data_dir, or `file`. Local files may use OpenR1's
    schema."""

    repo: Annotated[str, NOT_IDENTITY] = Field("openai/gsm8k", pattern=r"^[\w.-]+/[\w.-]+$")
    """Dataset repository on the Hub."""
    split: Literal["train", "test"] = "train"
    """Split of the Hub dataset. Does not apply to a local file."""

    def stand_in(self) -> str:
        """gsm8k_demos.parquet."""
        return "gsm8k_demos.parquet"

    def patterns(self) -> tuple[str, ...]:
        """The split's files in the configuration "main"."""
        return (f"main/{self.split}-*.parquet",)

    def read(self, data_dir: Path | None) -> Iterator[SourceRow | MalformedRow]:
        """Every row. Raises DataError if a file is missing or has another schema."""
        paths = self.paths(data_dir)
        if "prompt" in open_file(paths[0], {}).schema_arrow.names:
            yield from source_rows(read_rows(paths, COLUMNS, READ), openr1_row)
        else:
            yield from source_rows(read_rows(paths, _HUB_COLUMNS, tuple(_HUB_COLUMNS)), _hub_row)


def _hub_row(where: str, row: Row) -> SourceRow:
    question, answer = (in_field(name, text_of, row[name] or "") for name in _HUB_COLUMNS)
    steps, mark, final = answer.rpartition("####")
    gold = final.strip().replace(",", "")
    if not question.strip():
        raise ValueError("question is empty")
    if not mark or not gold or "\n" in gold:
        raise ValueError('answer does not end with "#### NUMBER"')
    demonstration = f"{_CALCULATOR.sub('', steps.rstrip())}\nThe answer is \\boxed{{{gold}}}."
    return SourceRow(where, "", question, gold, "math", demonstration, "math")
