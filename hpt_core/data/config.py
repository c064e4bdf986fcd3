"""The config of data preparation."""

from typing import Literal

from pydantic import Field

from hpt_core.base import Frozen
from hpt_core.data.sources.base import SourceConfig


class DataConfig(Frozen):
    """Training questions to prepare: `[data.NAME]`."""

    source: SourceConfig
    """Where the questions come from: openr1, gsm8k, jsonl or procedural."""
    max_prompt_tokens: int = Field(1024, ge=1)
    """Questions with a longer prompt are dropped (training scripts: 1024)."""
    max_demonstration_tokens: int = Field(8192, ge=1)
    """Questions with a longer demonstration are dropped, since cutting it would lose its end (scripts: 8192)."""
    demonstrations: Literal["required", "optional"] = "required"
    """Whether a question without a demonstration is dropped."""
    unverified: Literal["keep", "drop", "flag"] = "drop"
    """What happens to a question whose demonstration does not verify against its gold answer: "keep" does not even
    check, "flag" keeps the row and its verdict."""
    ngram: int = Field(13, ge=1)
    """Length, in words, of the shared n-gram that counts as overlap."""
    limit: int | None = Field(None, ge=1)
    """Questions to keep at most, the first ones in the source's order."""
