"""The question as the user's message in the tokenizer's chat template (Qwen models; paper, section 4.1)."""

import datetime
import re
from collections.abc import Callable
from typing import Any

from pydantic import Field, field_validator

from hpt_core.errors import ModelError, explain
from hpt_core.prompts._bound import PROBE, BoundPrompt, TextPrompt, name_of, with_instruction
from hpt_core.prompts.base import BOXED_INSTRUCTION

_OURS = frozenset(
    {
        *("messages", "conversation", "add_generation_prompt", "continue_final_message", "chat_template"),
        *("tokenize", "tokenizer_kwargs", "padding", "truncation", "max_length"),
        *("return_tensors", "return_dict", "return_assistant_tokens_mask", "bos_token", "eos_token", "strftime_now"),
    }
)
"""Names that are no arguments for the template."""


class ChatTemplate(TextPrompt):
    """The tokenizer's chat template, with its generation prompt."""

    system: str | None = None
    """System message. None sends none; a template may then use a default of its own (Qwen2.5-Math's asks for
    \\boxed{}). "" sends an empty one."""
    instruction: str | None = BOXED_INSTRUCTION
    """Instruction on its own line after the question. "" or None omits it."""
    date: datetime.date = datetime.date(2024, 7, 26)
    """The date for templates that write today's date (`strftime_now`), so that a prompt is the same every day. The
    default is the one that LLaMA's template uses without a clock."""
    template_arguments: dict[str, Any] = Field({}, exclude_if=lambda value: not value)
    """Arguments that the template reads, such as { enable_thinking = false } (Qwen3) or a date (Llama 3)."""

    @field_validator("template_arguments")
    @classmethod
    def _not_ours(cls, value: dict[str, Any]) -> dict[str, Any]:
        if ours := sorted(_OURS & value.keys()):
            raise ValueError(f"{ours[0]} is set by the prompt itself; remove it")
        return value

    def bind(self, tokenizer: Any) -> "ChatPrompt":
        """Raises ModelError if the tokenizer has no chat template, or the template refuses the messages or leaves out
        the question or the system message."""
        return ChatPrompt(self, tokenizer)


class ChatPrompt(BoundPrompt):
    """The chat prompt of one tokenizer."""

    def __init__(self, config: ChatTemplate, tokenizer: Any) -> None:
        super().__init__(tokenizer, config.bos)
        self._config = config
        if not tokenizer.chat_template:
            raise ModelError(
                f"the tokenizer of {name_of(tokenizer)} has no chat template",
                'set prompt = "plain", or add chat_template.jinja to the model folder',
            )
        self._require_arguments()
        self._content = self._accepted_content()
        self._require_own_bos()

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
        return self._apply(with_instruction(question, self._config.instruction, instruction), self._content)

    def _apply(self, content: str, of: Callable[[str], Any]) -> str:
        """The template's text; `of` gives the form of a message's content."""
        messages = [{"role": "user", "content": of(content)}]
        if self._config.system is not None:
            messages.insert(0, {"role": "system", "content": of(self._config.system)})
        now = datetime.datetime.combine(self._config.date, datetime.time())
        try:
            text: str = self._tokenizer.apply_chat_template(
                messages,
                tokenize=False,
                add_generation_prompt=True,
                strftime_now=now.strftime,
                **self._config.template_arguments,
            )
        except Exception as error:  # a template's code may raise anything
            raise ModelError(
                f"the chat template of {name_of(self._tokenizer)} fails: {explain(error)}",
                'leave out prompt.system, or set prompt = "plain"',
            ) from error
        return text

    def _accepted_content(self) -> Callable[[str], Any]:
        """The form in which the template shows messages: strings, or else lists of parts. Raises ModelError."""
        problems = []
        for of in (str, _parts):
            try:
                self._require_shown(self._apply(with_instruction(PROBE, self._config.instruction, None), of))
            except ModelError as error:
                problems.append(error)
            else:
                return of
        raise problems[0]

    def _require_shown(self, text: str) -> None:
        """Raise ModelError if the rendered `text` lacks the probe, the instruction or the system message."""
        config, template = self._config, f"the chat template of {name_of(self._tokenizer)}"
        if config.system and config.system.strip() not in text:
            raise ModelError(
                f"{template} leaves out or changes the system message",
                "leave out prompt.system, or write it into prompt.instruction",
            )
        if with_instruction(PROBE, config.instruction, None).strip() not in text:
            raise ModelError(
                f"{template} leaves out or changes the question; it gives {text[:200]!r}",
                'correct the chat template of the model folder, or set prompt = "plain"',
            )

    def _require_own_bos(self) -> None:
        """Raise ModelError if leaving out the BOS token would leave out the start of a turn."""
        if self._config.bos == "never" and self._bos and self.encode(PROBE).count(self._bos[0]):
            raise ModelError(
                f"the chat template of {name_of(self._tokenizer)} also uses its BOS token "
                f"{self._tokenizer.decode(self._bos)!r} between turns, so it cannot be left out",
                'set prompt.bos = "tokenizer"',
            )


def _parts(text: str) -> list[dict[str, str]]:
    return [{"type": "text", "text": text}]
