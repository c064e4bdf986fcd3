"""GSM8K: grade-school word problems with short worked solutions."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field

from hpt_core.base import NOT_IDENTITY
from hpt_core.data.sources._located import LocatedConfig
from hpt_core.data.sources._parquet import Row, is_text, open_file, read_rows
from hpt_core.data.sources._rows import COLUMNS, openr1_row
from hpt_core.data.sources.base import MalformedRow, SourceRow

_HUB_COLUMNS = {"question": is_text, "answer": is_text}
_CALCULATOR = re.compile(r"<<[^<>]*>>")
_FINAL = re.compile(r"\s*####\s*([^\n]+?)\s*$")


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
            for where, row in read_rows(paths, COLUMNS):
                yield openr1_row(where, row)
        else:
            for where, row in read_rows(paths, _HUB_COLUMNS):
                yield _hub_row(where, row)


def _hub_row(where: str, row: Row) -> SourceRow | MalformedRow:
    question, answer = row["question"] or "", row["answer"] or ""
    final = _FINAL.search(answer)
    if not question.strip():
        return MalformedRow(where, "question is empty")
    if final is None:
        return MalformedRow(where, 'answer does not end with "#### NUMBER"')
    gold = final.group(1).replace(",", "")
    steps = _CALCULATOR.sub("", answer[: final.start()])
    demonstration = f"{steps}\nThe answer is \\boxed{{{gold}}}."
    return SourceRow(where, "", question, gold, "math", demonstration, "math")
