"""The question as the user's message in the tokenizer's chat template (Qwen models; paper, section 4.1)."""

from typing import Any

from hpt_core.errors import ModelError
from hpt_core.prompts._bound import BoundPrompt, with_instruction
from hpt_core.prompts.base import BOXED_INSTRUCTION, PromptConfig


class ChatTemplate(PromptConfig):
    """The tokenizer's chat template, with its generation prompt."""

    system: str | None = None
    """System message. None sends none; a template may then use a default of its own (Qwen2.5-Math's asks for
    \\boxed{}). "" sends an empty one."""
    instruction: str | None = BOXED_INSTRUCTION
    """Instruction on its own line after the question. "" or None omits it."""

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
        self.render("1 + 1 = ?")

    def render(self, question: str, instruction: str | None = None) -> str:
        """The chat up to the start of the assistant's answer."""
        import jinja2

        content = with_instruction(question, self._config.instruction, instruction)
        messages = [{"role": "user", "content": content}]
        if self._config.system is not None:
            messages.insert(0, {"role": "system", "content": self._config.system})
        try:
            text: str = self._tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=True)
        except jinja2.TemplateError as error:
            raise ModelError(
                f"the chat template of {self._tokenizer.name_or_path or 'the model'} fails: {error}",
                'leave out prompt.system, or set prompt = "plain"',
            ) from error
        return text
