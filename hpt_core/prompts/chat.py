"""The question as the user's message in the tokenizer's chat template (Qwen models; paper, section 4.1)."""

import re
from typing import Any

from pydantic import Field, field_validator

from hpt_core.errors import ModelError
from hpt_core.prompts._bound import BoundPrompt, with_instruction
from hpt_core.prompts.base import BOXED_INSTRUCTION, PromptConfig

_OURS = frozenset(
    {
        *("messages", "conversation", "add_generation_prompt", "continue_final_message", "chat_template"),
        *("tokenize", "tokenizer_kwargs", "padding", "truncation", "max_length"),
        *("return_tensors", "return_dict", "return_assistant_tokens_mask", "bos_token", "eos_token"),
    }
)
"""Names that are no arguments for the template."""


class ChatTemplate(PromptConfig):
    """The tokenizer's chat template, with its generation prompt."""

    system: str | None = None
    """System message. None sends none; a template may then use a default of its own (Qwen2.5-Math's asks for
    \\boxed{}). "" sends an empty one."""
    instruction: str | None = BOXED_INSTRUCTION
    """Instruction on its own line after the question. "" or None omits it."""
    template_arguments: dict[str, Any] = Field({}, exclude_if=lambda value: not value)
    """Arguments that the template reads, such as { enable_thinking = false } (Qwen3) or a date (Llama 3)."""

    @field_validator("template_arguments")
    @classmethod
    def _not_ours(cls, value: dict[str, Any]) -> dict[str, Any]:
        if ours := sorted(_OURS & value.keys()):
            raise ValueError(f"{ours[0]} is set by the prompt itself; remove it")
        return value

    def bind(self, tokenizer: Any) -> "ChatPrompt":
        """Raises ModelError if the tokenizer has no chat template or the template refuses the messages."""
        return ChatPrompt(self, tokenizer)


class ChatPrompt(BoundPrompt):
    """The chat prompt of one tokenizer."""

    def __init__(self, config: ChatTemplate, tokenizer: Any) -> None:
        super().__init__(tokenizer)
        self._config = config
        if not tokenizer.chat_template:
            raise ModelError(
                f"the tokenizer of {tokenizer.name_or_path or 'the model'} has no chat template",
                'set prompt = "plain", or add chat_template.jinja to the model folder',
            )
        self._require_arguments()
        self.render("1 + 1 = ?")

    def _require_arguments(self) -> None:
        """Raise ModelError if the template does not read an argument, which it would ignore without an error."""
        text = str(self._tokenizer.chat_template)
        for name in self._config.template_arguments:
            if not re.search(rf"\b{re.escape(name)}\b", text):
                raise ModelError(
                    f"the chat template of {self._tokenizer.name_or_path or 'the model'} reads no argument {name!r}",
                    "remove it from template_arguments, or correct its name",
                )

    def render(self, question: str, instruction: str | None = None) -> str:
        """The chat up to the start of the assistant's answer."""
        import jinja2

        content = with_instruction(question, self._config.instruction, instruction)
        messages = [{"role": "user", "content": content}]
        if self._config.system is not None:
            messages.insert(0, {"role": "system", "content": self._config.system})
        try:
            text: str = self._tokenizer.apply_chat_template(
                messages, tokenize=False, add_generation_prompt=True, **self._config.template_arguments
            )
        except jinja2.TemplateError as error:
            raise ModelError(
                f"the chat template of {self._tokenizer.name_or_path or 'the model'} fails: {error}",
                'leave out prompt.system, or set prompt = "plain"',
            ) from error
        return text
