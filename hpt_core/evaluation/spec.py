"""The spec of `python -m hpt_core.evaluation.sample`: what to sample."""

from pathlib import Path
from typing import Literal

from pydantic import Field, model_validator

from hpt_core.base import Frozen
from hpt_core.evaluation.budget import Budget
from hpt_core.prompts.base import PromptConfig
from hpt_core.rollout.base import EngineConfig, Sampling

Seeds = Literal["derived", "counted"]
"""Seeds of samples: "derived" from the seed, the benchmark, the question and the sample's index; or "counted": seed + i
for sample i of every question."""


class SampleUnit(Frozen):
    """One model on one benchmark."""

    benchmark: str
    questions: Path
    """questions.parquet."""
    prompt: PromptConfig
    instruction: str | None = None
    """Replaces the prompt's instruction if the benchmark has its own (Suite.instruction)."""
    sampling: Sampling
    max_total_tokens: int | None = Field(None, ge=1)
    """Maximum tokens of prompt and response together. Limits each response beside `sampling.max_tokens`."""
    from_model: tuple[str, ...] = ()
    """Fields of `sampling` that the model's generation_config.json replaces, if it has them."""
    k: int = Field(ge=1)
    """Samples per question."""
    seed: int
    seeds: Seeds = "derived"
    output: Path
    """Folder for samples/part-NNNNN.parquet."""
    work: Path
    """Folder of finished samples that are not in a shard yet."""


class Slice(Frozen):
    """A part of every unit's questions."""

    index: int = Field(ge=0)
    """Number of the slice, from 0. It takes the questions whose number modulo `count` equals it."""
    count: int = Field(ge=1)
    """Number of slices."""

    @model_validator(mode="after")
    def _exists(self) -> "Slice":
        if self.index >= self.count:
            raise ValueError(f"there is no slice {self.index} of {self.count}; count from 0")
        return self


class SampleSpec(Frozen):
    """Spec of `python -m hpt_core.evaluation.sample`: one engine generates every missing sample of every unit."""

    model: Path
    engine: EngineConfig
    dtype: Literal["float32", "bfloat16"] = "bfloat16"
    shard_samples: int = Field(512, ge=1)
    """Samples of one Parquet shard, rounded up to whole questions."""
    units: tuple[SampleUnit, ...] = Field(min_length=1)
    slice: Slice | None = None
    """Generate only this slice of the samples, into `work`. A later run with `joins` writes the shards."""
    joins: bool = False
    """Write the shards from the samples of all slices and generate nothing. A missing sample is an error."""
    pilot: int | None = Field(None, ge=1)
    """Generate every sample of this many questions of each unit, spread over the unit, into `work`. Then write an
    estimate of the remaining cost instead of shards."""
    budget: Budget = Budget()
    """Limits over all attempts; for a slice, limits of what it is about to generate."""
