"""The question as the user's message in the tokenizer's chat template (Qwen models; paper, section 4.1)."""

import datetime
import random
import re
from collections import UserDict
from collections.abc import Callable
from typing import Any

from pydantic import Field, field_validator

from hpt_core.errors import ModelError, explain
from hpt_core.model_folder import chat_template
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
_CORRECT = 'correct the chat template of the model folder, or set prompt = "plain"'

Form = Callable[[str], Any]
"""The form of a message's content: a string, or a list of parts."""


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
        self._template = chat_template(tokenizer)
        if not self._template:
            raise ModelError(
                f"the tokenizer of {name_of(tokenizer)} has no chat template",
                'set prompt = "plain", or add chat_template.jinja to the model folder',
            )
        self._may_draw = bool(re.search(r"\b(random|lipsum)\b", self._template))
        self._require_arguments()
        self._forms = self._accepted_forms()
        self._require_own_bos()

    def _require_arguments(self) -> None:
        """Raise ModelError if the template does not read an argument, which it would ignore without an error."""
        for name in self._config.template_arguments:
            if not re.search(rf"\b{re.escape(name)}\b", self._template):
                raise ModelError(
                    f"the chat template of {name_of(self._tokenizer)} reads no argument {name!r}",
                    "remove it from template_arguments, or correct its name",
                )

    def render(self, question: str, instruction: str | None = None) -> str:
        """The chat up to the start of the assistant's answer."""
        content = with_instruction(question, self._config.instruction, instruction)
        return self._apply(self._config.system, content, self._forms)

    def _apply(self, system: str | None, content: str, forms: tuple[Form, Form]) -> str:
        """The template's text. `forms` are those of the system message and of the user's."""
        messages = [] if system is None else [{"role": "system", "content": forms[0](system)}]
        messages.append({"role": "user", "content": forms[1](content)})
        drawn = random.getstate() if self._may_draw else None
        try:
            text: str = self._tokenizer.apply_chat_template(
                messages,
                tokenize=False,
                add_generation_prompt=True,
                strftime_now=self._strftime,
                **self._config.template_arguments,
            )
        except Exception as error:  # a template's code may raise anything
            raise ModelError(
                f"the chat template of {name_of(self._tokenizer)} fails: {explain(error)}", _CORRECT
            ) from error
        if drawn is not None and random.getstate() != drawn:
            raise ModelError(
                f"the chat template of {name_of(self._tokenizer)} draws random numbers, so no two runs would have the "
                "same prompts",
                _CORRECT,
            )
        return text

    def _strftime(self, form: str) -> str:
        """The configured date in a format of strftime. The C library would take seconds since 1970 (%s) from the
        machine's time zone."""
        now = datetime.datetime.combine(self._config.date, datetime.time())
        seconds = str(int(now.replace(tzinfo=datetime.UTC).timestamp()))
        return now.strftime(re.sub(r"%(?:%|[-_0^#]*\d*[EO]?s)", lambda m: m[0] if m[0] == "%%" else seconds, form))

    def _accepted_forms(self) -> tuple[Form, Form]:
        """The forms in which the template shows the system message and the user's. Raises ModelError."""
        system = self._config.system
        found = self._first_shown(system)
        if isinstance(found, ModelError):
            if system is None or isinstance(self._first_shown(None), ModelError):
                raise found
            raise ModelError(found.cause, "leave out prompt.system, or write it into prompt.instruction") from found
        return found

    def _first_shown(self, system: str | None) -> tuple[Form, Form] | ModelError:
        """The first forms of which the template shows all, or what is wrong with strings."""
        pairs: list[tuple[Form, Form]] = [(str, str), (_parts, _parts)]
        if system is not None:
            pairs += [(str, _parts), (_parts, str)]
        problems = []
        for forms in pairs:
            try:
                self._require_shown(system, forms)
            except ModelError as error:
                problems.append(error)
            else:
                return forms
        return problems[0]

    def _require_shown(self, system: str | None, forms: tuple[Form, Form]) -> None:
        """Raise ModelError if the rendered probe lacks the question, the instruction or the system message.

        The system message is also tried inside a text that occurs nowhere else: its own text may be part of the
        instruction or the template.
        """
        template = f"the chat template of {name_of(self._tokenizer)}"
        question = with_instruction(PROBE, self._config.instruction, None)
        for sent in dict.fromkeys((system, system and f"4187 {system} 2605")):
            text = self._apply(sent, question, forms)
            if sent and sent.strip() not in text:
                raise ModelError(f"{template} leaves out or changes the system message", _CORRECT)
            if question.strip() not in text:
                raise ModelError(f"{template} leaves out or changes the question; it gives {text[:200]!r}", _CORRECT)


class _Part(UserDict[str, str]):
    """A part of a message's content. A template that writes it as it is, not its text, fails."""

    def __repr__(self) -> str:
        raise TypeError("it writes a list of parts as it is")


def _parts(text: str) -> list[_Part]:
    return [_Part(type="text", text=text)]
