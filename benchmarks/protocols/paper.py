"""How the paper's authors measured: 8,192 tokens for prompt and response together, their system message, seeds from 42.

Source: their answer to issue 4 of TsinghuaC3I/Unify-Post-Training, and the script that it names, uni_eval.py of
zwhe99/DeepMath. They count a response as correct if any of several graders accepts it. Here the score is that of the
benchmark's own verifier, and Math-Verify on the whole response is shown beside it.
"""

from typing import Literal

from pydantic import Field

from benchmarks.protocols.base import ProtocolConfig, Settings
from benchmarks.suite import Suite
from hpt_core import verifiers
from hpt_core.prompts.base import BOXED_INSTRUCTION, PromptConfig
from hpt_core.prompts.chat import ChatTemplate
from hpt_core.rollout.base import Sampling
from hpt_core.verifiers.math_verify import MathVerify


class Paper(ProtocolConfig):
    """The evaluation protocol of the paper's authors."""

    benchmarks: tuple[str, ...] = (
        *("aime24", "aime25", "amc", "math500", "minerva", "olympiadbench"),
        *("arc_challenge", "gpqa_diamond"),
    )
    """The eight benchmarks of the paper. AMC is `amc`, with 83 questions; `amc23` has 40."""
    prompt: PromptConfig = Field(default=ChatTemplate(system=BOXED_INSTRUCTION, instruction=""), validate_default=True)
    """The tokenizer's chat template with the authors' system message, and nothing after the question."""
    sampling: Sampling = Sampling(temperature=0.6, top_p=0.95, max_tokens=8192)
    """Temperature and top_p."""
    max_total_tokens: int = Field(8192, ge=1)
    """Maximum tokens of prompt and response together (max_model_len in the script)."""
    repeated: tuple[str, ...] = ("aime24", "aime25", "amc")
    """Benchmarks with `k` samples per question. The others have one."""
    k: int = Field(32, ge=1)
    """Samples per question of the repeated benchmarks."""
    seed: int = 42
    """Sample i of every question has the seed 42 + i."""
    dtype: Literal["float32", "bfloat16"] = "bfloat16"
    """Compute precision of the engine."""

    def settings(self, suite: Suite, prompt: PromptConfig, seed: int) -> Settings:
        """The same for every benchmark, except k. No benchmark has an instruction of its own, and Math-Verify grades
        where it applies, so not multiple choice."""
        return Settings(
            prompt=self.prompt,
            sampling=self.sampling,
            max_total_tokens=self.max_total_tokens,
            k=self.k if suite.name in self.repeated else 1,
            seed=self.seed,
            seeds="counted",
            dtype=self.dtype,
            graders=(MathVerify(),) if "math_verify" in verifiers.get(suite.kind).references else (),
        )
