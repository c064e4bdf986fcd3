"""The contract of a protocol: how benchmarks are measured, so that a score can be compared with others."""

import json
from typing import Literal

from pydantic import Field, field_validator

from benchmarks.suite import Suite
from hpt_core.base import Frozen
from hpt_core.evaluation.spec import Seeds
from hpt_core.plugins import PluginConfig
from hpt_core.prompts.base import PromptConfig
from hpt_core.rollout.base import Sampling
from hpt_core.verifiers.base import Verifier


class Settings(Frozen):
    """How one benchmark is measured. Fingerprints contain these values, not the protocol's name."""

    prompt: PromptConfig
    """Prompt format, with its system message and instruction."""
    instruction: str | None = None
    """Replaces the prompt's instruction for this benchmark. None keeps it, "" removes it."""
    sampling: Sampling
    """How tokens are sampled; `max_tokens` limits the response only."""
    max_total_tokens: int | None = Field(None, ge=1)
    """Maximum tokens of prompt and response together; None sets no such limit."""
    k: int = Field(ge=1)
    """Samples per question."""
    seed: int
    """Seed of the samples."""
    seeds: Seeds = "derived"
    """How a sample's seed follows from `seed`: see SampleUnit."""
    dtype: Literal["float32", "bfloat16"] | None = None
    """Compute precision that the protocol asks for; None allows any. `evaluate.dtype` sets it, and a score in another
    one is marked."""
    graders: tuple[Verifier, ...] = ()
    """Further graders. The score is that of the benchmark's own verifier; theirs are shown beside it, by name, so each
    grader may occur only once."""

    @field_validator("graders")
    @classmethod
    def _once_each(cls, value: tuple[Verifier, ...]) -> tuple[Verifier, ...]:
        names = [grader.name for grader in value]
        if repeated := next((name for name in names if names.count(name) > 1), None):
            raise ValueError(f"the grader {repeated!r} occurs twice; name each grader once")
        return value


class ProtocolConfig(PluginConfig, kind="protocols", package="benchmarks.protocols"):
    """Base of the protocols' configs."""

    benchmarks: tuple[str, ...] = ()
    """The benchmarks that the protocol is defined on, by name; empty for any. It measures others by the same rules, and
    their scores are marked. They are the default of `evaluate.suites`."""

    def settings(self, suite: Suite, prompt: PromptConfig, seed: int) -> Settings:
        """How `suite` is measured. `prompt` and `seed` are the pipeline's, for protocols without their own."""
        raise NotImplementedError

    @property
    def title(self) -> str:
        """The name, and the fields that differ from its defaults."""
        changed = self.model_dump(mode="json", exclude_defaults=True)
        changed.pop("name", None)
        return f"{self.name} with {json.dumps(changed, sort_keys=True)}" if changed else self.name
