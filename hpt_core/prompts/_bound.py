"""The common part of all prompts once they are bound to a tokenizer: text to token ids, one BOS, one EOS."""

import re
from abc import ABC, abstractmethod
from collections.abc import Iterable
from typing import Any, Literal

from pydantic import Field

from hpt_core.errors import ModelError
from hpt_core.model_folder import chat_template
from hpt_core.prompts.base import THINK, PromptConfig

PROBE = "What is 4073 + 2519?"
"""A question with which a prompt is tried."""
Bos = Literal["tokenizer", "always", "never"]


class TextPrompt(PromptConfig):
    """Base of the configs of prompts that render a text."""

    bos: Bos = Field("tokenizer", exclude_if=lambda value: value == "tokenizer")
    """Whether a prompt begins with the BOS token: "tokenizer" if the tokenizer adds one to every text or the template
    writes one, "always", or "never". Never twice. The scripts of the paper's repository give LLaMA none."""


def with_instruction(question: str, own: str | None, replacement: str | None) -> str:
    """The question, followed by the instruction on its own line. `replacement` replaces `own` unless it is None."""
    instruction = own if replacement is None else replacement
    return f"{question}\n{instruction}" if instruction else question


def name_of(tokenizer: Any) -> str:
    """What messages call the tokenizer's model."""
    return str(tokenizer.name_or_path or "the model")


class BoundPrompt(ABC):
    """A prompt bound to one tokenizer (transformers.PreTrainedTokenizerBase)."""

    def __init__(self, tokenizer: Any, bos: Bos = "tokenizer") -> None:
        """Raises ModelError if the tokenizer has no EOS token, which must end each demonstration, or no BOS token that
        `bos` asks for."""
        if tokenizer.eos_token_id is None:
            raise ModelError(
                f"the tokenizer of {name_of(tokenizer)} has no EOS token",
                "set eos_token in its tokenizer_config.json",
            )
        self._tokenizer = tokenizer
        self._eos: int = tokenizer.eos_token_id
        added = _added_in_front(tokenizer)
        self._adds_bos = bool(added)
        self._bos = added or [i for i in (tokenizer.bos_token_id,) if i is not None]
        self._mode = bos
        if bos == "always" and not self._bos:
            raise ModelError(
                f'bos = "always", but the tokenizer of {name_of(tokenizer)} has no BOS token',
                'set bos_token in its tokenizer_config.json, or prompt.bos = "tokenizer"',
            )
        tokens = tokenizer.added_tokens_decoder.values()
        special = {*map(str, tokenizer.all_special_tokens), *(str(t) for t in tokens if t.special)}
        # Some tokenizers do not mark the tokens of turns as special. Text must not contain them either.
        turns = {str(t) for t in tokens if str(t) in chat_template(tokenizer)} - special
        self._special, self._control = _any_of(special), _any_of(special | turns)
        self._inside_turns = re.compile(
            "|".join(f"(?<={re.escape(t[0])})(?={re.escape(t[1:])})" for t in sorted(turns)) or "(?!)"
        )

    @abstractmethod
    def render(self, question: str, instruction: str | None = None) -> str:
        """The prompt's final text."""

    def encode(self, question: str, instruction: str | None = None) -> list[int]:
        """The prompt's token ids.

        They begin with one BOS or none, as `bos` says. Control tokens in the question's text are encoded as text.
        Raises ModelError if the rendered prompt does not contain the question.
        """
        text, asked = self.render(question, instruction), question.strip()
        if asked not in text:
            raise ModelError(
                f"the prompt of {name_of(self._tokenizer)} does not contain the question {asked[:80]!r}: {text[:80]!r}",
                'correct the chat template of the model folder, or set prompt = "plain"',
            )
        if self._control.search(asked):
            ids = self._parsed(text, self._spans(text, asked, instruction))
        else:
            ids = self._tokens(text)
        written = self._written(ids)
        return [*(self._bos if self._begins(written) else ()), *ids[written:]]

    def _begins(self, written: int) -> bool:
        """Whether the prompt begins with the BOS; `written` token ids of it are in the text."""
        return self._mode == "always" or (self._mode == "tokenizer" and (written > 0 or self._adds_bos))

    def _written(self, ids: list[int]) -> int:
        """How many of the first token ids of a text are the BOS, repeated, or the end of it."""
        size, found = len(self._bos), 0
        while size and ids[found : found + size] == self._bos:
            found += size
        return found + next((n for n in range(size - 1, 0, -1) if ids[found : found + n] == self._bos[-n:]), 0)

    def _require_own_bos(self) -> None:
        """Raise ModelError if the template's use of the BOS token does not fit `bos`.

        The prompt must not have a BOS at its start and another before its question, and leaving it out must not leave
        out the start of a turn.
        """
        name, token = name_of(self._tokenizer), repr(self._tokenizer.decode(self._bos))
        begins = set(self._bos) - {self._eos}  # a token that is both may also end a turn
        before = self._tokens(self.render(PROBE).partition(PROBE)[0])
        late = not self._written(before) and begins & set(before)
        if late and (self._adds_bos or self._mode == "always"):
            raise ModelError(
                f"the template of {name} writes its BOS token {token} after other text, not at the start of the prompt",
                "let the template begin with the BOS token, or leave it out there",
            )
        if self._mode == "never" and begins & set(self.encode(PROBE)):
            raise ModelError(
                f"the prompt of {name} also uses its BOS token {token} between turns, so it cannot be left out",
                'set prompt.bos = "tokenizer"',
            )

    def encode_demonstration(self, question: str, demonstration: str) -> list[int]:
        """The demonstration's token ids, ending with one EOS.

        They follow `encode(question)`: prompt and demonstration are tokenized separately, as for a rollout. A leading
        "<think>\\n" is dropped if the rendered prompt already ends with it. Special tokens in it are encoded as text.
        """
        if demonstration.startswith(THINK) and self.render(question).endswith(THINK):
            demonstration = demonstration.removeprefix(THINK)
        end = str(self._tokenizer.eos_token)
        while demonstration.endswith(end):
            demonstration = demonstration.removesuffix(end)
        special = self._special.search(demonstration)
        return [*(self._as_text(demonstration) if special else self._tokens(demonstration)), self._eos]

    def _spans(self, text: str, asked: str, instruction: str | None) -> list[tuple[int, int]]:
        """Where the question stands in a rendered prompt: where another one would, else wherever its text occurs."""
        before, _, after = self.render(PROBE, instruction).partition(PROBE)
        end = len(text) - len(after)
        if text.startswith(before) and text.endswith(after) and text[len(before) : end].strip() == asked:
            return [(len(before), end)]
        return [match.span() for match in re.finditer(re.escape(asked), text)]

    def _parsed(self, text: str, question: list[tuple[int, int]]) -> list[int]:
        """Token ids of a rendered prompt. Only what stands outside the spans `question` may be a control token."""
        ids: list[int] = []
        start = 0
        for match in self._control.finditer(text):
            if not any(begin <= match.start() < end for begin, end in question):
                ids += [*self._as_text(text[start : match.start()]), *self._tokens(match.group())]
                start = match.end()
        return ids + self._as_text(text[start:])

    def _tokens(self, text: str, **options: Any) -> list[int]:
        return list(self._tokenizer(text, add_special_tokens=False, verbose=False, **options).input_ids)

    def _as_text(self, text: str) -> list[int]:
        """Token ids of `text`, none of them a control token."""
        parts = self._inside_turns.split(text)
        return [token for part in parts for token in self._tokens(part, split_special_tokens=True)]


def _added_in_front(tokenizer: Any) -> list[int]:
    """The token ids that the tokenizer puts before every text."""
    alone, whole = (list(tokenizer("a", add_special_tokens=special).input_ids) for special in (False, True))
    starts = (i for i in range(len(whole)) if whole[i : i + len(alone)] == alone)
    return whole[: next(starts, 0)]


def _any_of(tokens: Iterable[str]) -> re.Pattern[str]:
    """Matches any of the tokens, the longest first; nothing if there are none."""
    return re.compile("|".join(re.escape(t) for t in sorted(tokens, key=lambda t: (-len(t), t)) if t) or "(?!)")
