"""The common part of all prompts once they are bound to a tokenizer: text to token ids, one BOS, one EOS."""

from abc import ABC, abstractmethod
from typing import Any

from hpt_core.errors import ModelError
from hpt_core.prompts.base import THINK


def with_instruction(question: str, own: str | None, replacement: str | None) -> str:
    """The question, followed by the instruction on its own line. `replacement` replaces `own` unless it is None."""
    instruction = own if replacement is None else replacement
    return f"{question}\n{instruction}" if instruction else question


class BoundPrompt(ABC):
    """A prompt bound to one tokenizer (transformers.PreTrainedTokenizerBase)."""

    def __init__(self, tokenizer: Any) -> None:
        """Raises ModelError if the tokenizer has no EOS token, which must end each demonstration."""
        if tokenizer.eos_token_id is None:
            raise ModelError(
                f"the tokenizer of {tokenizer.name_or_path or 'the model'} has no EOS token",
                "set eos_token in its tokenizer_config.json",
            )
        self._tokenizer = tokenizer
        self._eos: int = tokenizer.eos_token_id
        self._bos: int | None = tokenizer.bos_token_id
        self._adds_bos = self._bos is not None and list(tokenizer("a").input_ids)[:1] == [self._bos]

    @abstractmethod
    def render(self, question: str, instruction: str | None = None) -> str:
        """The prompt's final text."""

    def encode(self, question: str, instruction: str | None = None) -> list[int]:
        """The prompt's token ids.

        They begin with exactly one BOS if the template writes one or the tokenizer adds one to every text. They have
        none if the tokenizer has a BOS token but does not use it.
        """
        ids = self._ids(self.render(question, instruction))
        start = 0
        while start < len(ids) and self._bos is not None and ids[start] == self._bos:
            start += 1
        if self._bos is not None and (start or self._adds_bos):
            return [self._bos, *ids[start:]]
        return ids

    def encode_demonstration(self, question: str, demonstration: str) -> list[int]:
        """The demonstration's token ids, ending with one EOS.

        They follow `encode(question)`: prompt and demonstration are tokenized separately, as for a rollout. A leading
        "<think>\\n" is dropped if the rendered prompt already ends with it.
        """
        if demonstration.startswith(THINK) and self.render(question).endswith(THINK):
            demonstration = demonstration.removeprefix(THINK)
        ids = self._ids(demonstration)
        while ids and ids[-1] == self._eos:
            ids.pop()
        return [*ids, self._eos]

    def _ids(self, text: str) -> list[int]:
        return list(self._tokenizer(text, add_special_tokens=False, verbose=False).input_ids)
