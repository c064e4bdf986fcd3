"""The config of data preparation."""

from typing import Literal

from pydantic import Field

from hpt_core.base import Frozen
from hpt_core.data.sources.base import SourceConfig


class Room(Frozen):
    """The room that a model's context leaves, and what training puts into it."""

    context: int
    """Context length in tokens."""
    response: int = 0
    """The most tokens of a response that a training stage samples: its sampling.max_tokens."""
    demonstrations: bool = True
    """Whether a training stage trains on demonstrations."""

    def problem(self, prompt: int, demonstration: int | None) -> str:
        """What exceeds the context; "" if everything fits."""
        shown = demonstration if self.demonstrations and demonstration is not None else 0
        what = "demonstration" if shown >= self.response else "longest response"
        total = prompt + max(shown, self.response)
        return f"prompt and {what} take {total} tokens, the context is {self.context}" if total > self.context else ""


class DataConfig(Frozen):
    """Training questions to prepare: `[data.NAME]`."""

    source: SourceConfig
    """Where the questions come from; see `hpt list sources`."""
    max_prompt_tokens: int = Field(1024, ge=1)
    """Questions with a longer prompt are dropped (training scripts: 1024)."""
    max_demonstration_tokens: int = Field(8192, ge=1)
    """Questions with a longer demonstration are dropped, because cutting it would lose its end (scripts: 8192)."""
    demonstrations: Literal["required", "optional"] = "required"
    """Whether each question must have a demonstration. With "required", a question without one is dropped."""
    unverified: Literal["keep", "drop", "flag"] = "drop"
    """What to do with a question whose demonstration does not verify against its gold answer. "drop" drops it, "flag"
    keeps it with its verdict, "keep" does not verify demonstrations at all."""
    ngram: int = Field(13, ge=1)
    """Words of an n-gram; a training question overlaps a benchmark question if they share one."""
    limit: int | None = Field(None, ge=1)
    """Maximum number of questions to keep, in the source's order."""
