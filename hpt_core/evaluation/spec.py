"""What is sampled of a model: the spec of `python -m hpt_core.evaluation.sample`."""

from pathlib import Path
from typing import Literal

from pydantic import Field, model_validator

from hpt_core.base import Frozen
from hpt_core.evaluation.budget import Budget
from hpt_core.prompts.base import PromptConfig
from hpt_core.rollout.base import EngineConfig, Sampling


class SampleUnit(Frozen):
    """One model on one benchmark."""

    benchmark: str
    questions: Path
    """questions.parquet."""
    instruction: str | None = None
    """Replaces the prompt's instruction where the benchmark has its own (Suite.instruction)."""
    sampling: Sampling
    k: int = Field(ge=1)
    """Samples a question."""
    output: Path
    """Folder that receives samples/part-NNNNN.parquet."""
    work: Path
    """Folder of the samples that have finished and stand in no shard yet."""


class Slice(Frozen):
    """A part of every unit's questions."""

    index: int = Field(ge=0)
    """Counted from 0: the questions whose number leaves this remainder."""
    count: int = Field(ge=1)
    """Slices in all."""

    @model_validator(mode="after")
    def _exists(self) -> "Slice":
        if self.index >= self.count:
            raise ValueError(f"there is no slice {self.index} of {self.count}; count from 0")
        return self


class SampleSpec(Frozen):
    """Spec of `python -m hpt_core.evaluation.sample`: one engine generates every missing sample of every unit."""

    model: Path
    prompt: PromptConfig
    engine: EngineConfig
    dtype: Literal["float32", "bfloat16"] = "bfloat16"
    seed: int
    shard_samples: int = Field(512, ge=1)
    """Samples of one Parquet shard, rounded up to whole questions."""
    units: tuple[SampleUnit, ...]
    slice: Slice | None = None
    """Generate part of the samples in `work`; a run that joins the slices writes the shards."""
    joins: bool = False
    """Write the shards of what slices have generated, and generate nothing: a missing sample is an error."""
    pilot: int | None = Field(None, ge=1)
    """Generate every sample of this many questions of each unit into `work`, spread over the unit, and write an estimate
    of the rest instead of shards."""
    budget: Budget = Budget()
    """What the samples may cost, over all attempts; a slice's is for what it is about to generate."""
