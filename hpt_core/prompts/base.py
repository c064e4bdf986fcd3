"""The contract of a prompt: one component for data preparation, rollouts and evaluation."""

from typing import Any, Protocol

from hpt_core.plugins import PluginConfig

BOXED_INSTRUCTION = "Please reason step by step, and put your final answer within \\boxed{}."
"""The instruction of the paper's scripts."""
THINK = "<think>\n"
"""Start of the demonstrations of reasoning models, and end of some chat templates."""


def opening(prompt: str) -> str:
    """The end of a rendered prompt that opens the thinking: "<think>\\n", or "" if it opens none.

    It belongs in front of the response, so that a verifier sees whether the thinking was closed.
    """
    _, tag, after = prompt.rpartition(THINK.strip())
    return f"{tag}{after}" if tag and not after.strip() else ""


class Prompt(Protocol):
    """Converts a question to the text and tokens that a model sees.

    `instruction` replaces the prompt's own instruction for one benchmark (multiple choice). None keeps the prompt's own
    instruction; "" removes it.
    """

    def render(self, question: str, instruction: str | None = None) -> str:
        """The prompt's final text."""
        ...

    def encode(self, question: str, instruction: str | None = None) -> list[int]:
        """The prompt's token ids. Raises ModelError if the prompt does not contain the question."""
        ...

    def encode_demonstration(self, question: str, demonstration: str) -> list[int]:
        """The demonstration's token ids, ending with one EOS.

        A leading "<think>\\n" is dropped if the rendered prompt already ends with it.
        """
        ...


class PromptConfig(PluginConfig, kind="prompts", package="hpt_core.prompts"):
    """Base of the prompts' configs."""

    def bind(self, tokenizer: Any) -> Prompt:
        """The prompt for one tokenizer (transformers.PreTrainedTokenizerBase). Raises ModelError if the tokenizer
        lacks something that the prompt needs, such as a chat template."""
        raise NotImplementedError
