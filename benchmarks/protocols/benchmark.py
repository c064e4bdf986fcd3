"""Each benchmark's own settings, with the pipeline's prompt and seed. Responses have a limit of new tokens."""

from benchmarks.protocols.base import ProtocolConfig, Settings
from benchmarks.suite import Suite
from hpt_core.prompts.base import PromptConfig


class Benchmark(ProtocolConfig):
    """The benchmarks' own settings (benchmarks/suites)."""

    def settings(self, suite: Suite, prompt: PromptConfig, seed: int) -> Settings:
        """What the benchmark itself says."""
        return Settings(prompt=prompt, instruction=suite.instruction, sampling=suite.sampling, k=suite.k, seed=seed)
