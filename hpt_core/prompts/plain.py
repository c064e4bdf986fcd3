"""Plain-text prompts, for base models without a chat template (LLaMA scripts of the paper's repository)."""

from typing import Any

from pydantic import field_validator

from hpt_core.prompts._bound import BoundPrompt, TextPrompt, with_instruction
from hpt_core.prompts.base import BOXED_INSTRUCTION

_PLACE = "{question}"


class PlainText(TextPrompt):
    """A text with a placeholder for the question."""

    template: str = f"Question:\n{_PLACE}\nAnswer:\nLet's think step by step."
    """The prompt's text. `{question}` must occur exactly once; the question and its instruction replace it."""
    instruction: str | None = BOXED_INSTRUCTION
    """Instruction on its own line after the question. "" or None omits it."""

    @field_validator("template")
    @classmethod
    def _one_place(cls, value: str) -> str:
        if value.count(_PLACE) != 1:
            raise ValueError(f"{_PLACE} must stand in it exactly once, not {value.count(_PLACE)} times")
        return value

    def bind(self, tokenizer: Any) -> "PlainPrompt":
        """The prompt for `tokenizer`. Raises ModelError if it lacks an EOS token, or the BOS token that `bos` wants."""
        return PlainPrompt(self, tokenizer)


class PlainPrompt(BoundPrompt):
    """The plain prompt of one tokenizer."""

    def __init__(self, config: PlainText, tokenizer: Any) -> None:
        super().__init__(tokenizer, config.bos)
        self._config = config
        self._require_own_bos()

    def render(self, question: str, instruction: str | None = None) -> str:
        """The template with the question inserted. `encode` adds the BOS token."""
        before, _, after = self._config.template.partition(_PLACE)
        return before + with_instruction(question, self._config.instruction, instruction) + after
