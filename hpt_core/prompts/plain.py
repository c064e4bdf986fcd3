"""Questions in a plain text, for base models without a chat template (LLaMA scripts of the paper's repository)."""

from typing import Any

from pydantic import field_validator

from hpt_core.prompts._bound import BoundPrompt, with_instruction
from hpt_core.prompts.base import BOXED_INSTRUCTION, PromptConfig

_PLACE = "{question}"


class PlainText(PromptConfig):
    """A text with a place for the question."""

    template: str = f"Question:\n{_PLACE}\nAnswer:\nLet's think step by step."
    """The prompt's text; `{question}` stands once for the question and its instruction."""
    instruction: str | None = BOXED_INSTRUCTION
    """Follows the question on a line of its own. "" leaves it out, and so does None."""

    @field_validator("template")
    @classmethod
    def _one_place(cls, value: str) -> str:
        if value.count(_PLACE) != 1:
            raise ValueError(f"{_PLACE} must stand in it exactly once, not {value.count(_PLACE)} times")
        return value

    def bind(self, tokenizer: Any) -> "PlainPrompt":
        """The prompt for `tokenizer`; raises ModelError where it has no EOS token."""
        return PlainPrompt(self, tokenizer)


class PlainPrompt(BoundPrompt):
    """The plain prompt of one tokenizer."""

    def __init__(self, config: PlainText, tokenizer: Any) -> None:
        super().__init__(tokenizer)
        self._config = config

    def render(self, question: str, instruction: str | None = None) -> str:
        """The template with the question in its place; a BOS is added at encoding."""
        before, _, after = self._config.template.partition(_PLACE)
        return before + with_instruction(question, self._config.instruction, instruction) + after
