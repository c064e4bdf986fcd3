"""The contract of a prompt: one component for data preparation, rollouts and evaluation."""

from typing import Any, Protocol

from hpt_core.plugins import PluginConfig

BOXED_INSTRUCTION = "Please reason step by step, and put your final answer within \\boxed{}."
"""The instruction of the paper's scripts."""
THINK = "<think>\n"
"""How demonstrations of reasoning models begin, and how some chat templates end."""


class Prompt(Protocol):
    """Turns a question into the text and the tokens that a model sees.

    `instruction` replaces the prompt's own instruction for one benchmark (multiple choice); None keeps the prompt's own
    and "" leaves the question without one.
    """

    def render(self, question: str, instruction: str | None = None) -> str:
        """The final text of the prompt."""
        ...

    def encode(self, question: str, instruction: str | None = None) -> list[int]:
        """The token ids of the prompt, with exactly one BOS where the tokenizer has one."""
        ...

    def encode_demonstration(self, question: str, demonstration: str) -> list[int]:
        """The token ids of the demonstration, with one EOS at its end.

        A leading "<think>\\n" is dropped where the rendered prompt already ends with it.
        """
        ...


class PromptConfig(PluginConfig, kind="prompts", package="hpt_core.prompts"):
    """Base of the prompts' configs."""

    def bind(self, tokenizer: Any) -> Prompt:
        """The prompt for one tokenizer (transformers.PreTrainedTokenizerBase). Raises ModelError where it lacks
        what the prompt needs, such as a chat template."""
        raise NotImplementedError
