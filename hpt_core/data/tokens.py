"""Counts the tokens of prompts and demonstrations, in batches and on all cores."""

import contextlib
from collections.abc import Iterator, Sequence
from types import SimpleNamespace
from typing import Any, NamedTuple

from hpt_core.data.sources.base import SourceRow
from hpt_core.prompts.base import THINK, PromptConfig

LONG = 100_000
LONG_PER_TOKEN = 64
"""Characters, in all and for each allowed token, up to which a text is tokenized at once. No token is nearly as long,
so a cut can change the count of the beginning by little."""


class TokenCounts(NamedTuple):
    """Numbers of tokens."""

    prompt: int
    demonstration: int | None
    """None without a demonstration."""

    def exceed_twice(self, limits: "TokenCounts") -> bool:
        """Whether one of the numbers is more than twice its limit."""
        return any(n is not None and n > 2 * (limit or 0) for n, limit in zip(self, limits, strict=True))


class TokenCounter:
    """Counts the tokens that one prompt gives with one tokenizer (transformers.PreTrainedTokenizerBase)."""

    def __init__(self, prompt: PromptConfig, tokenizer: Any) -> None:
        """Raises ModelError if the tokenizer lacks something that the prompt needs."""
        self._tokenizer = Together(tokenizer)
        self.prompt = prompt.bind(self._tokenizer)

    def count(self, rows: Sequence[SourceRow], limits: TokenCounts) -> list[TokenCounts]:
        """The tokens of each row, exactly as the prompt encodes it.

        Of a very long text, which takes minutes, only the beginning counts if it alone has more than twice the tokens
        that `limits` allow.
        """
        beginnings = [_beginning(row, limits) for row in rows]
        counts = self._count_all(beginnings)
        whole = [
            place
            for place, row in enumerate(rows)
            if row is not beginnings[place] and not counts[place].exceed_twice(limits)
        ]
        for place, tokens in zip(whole, self._count_all([rows[place] for place in whole]), strict=True):
            counts[place] = tokens
        return counts

    def _count_all(self, rows: Sequence[SourceRow]) -> list[TokenCounts]:
        with self._tokenizer.together([text for row in rows for text in self._texts(row)]):
            return [self._count(row) for row in rows]

    def _count(self, row: SourceRow) -> TokenCounts:
        prompt = len(self.prompt.encode(row.question))
        if row.demonstration is None:
            return TokenCounts(prompt, None)
        return TokenCounts(prompt, len(self.prompt.encode_demonstration(row.question, row.demonstration)))

    def _texts(self, row: SourceRow) -> Iterator[str]:
        """The texts that the prompt will tokenize for a row. Others would be tokenized one by one."""
        rendered = self.prompt.render(row.question)
        yield rendered
        if row.demonstration is not None:
            yield row.demonstration.removeprefix(THINK) if rendered.endswith(THINK) else row.demonstration


def _beginning(row: SourceRow, limits: TokenCounts) -> SourceRow:
    """The row with only the beginnings of very long texts; the row itself if it has none."""
    question, demonstration = (max(LONG, LONG_PER_TOKEN * (limit or 0)) for limit in limits)
    if len(row.question) <= question and len(row.demonstration or "") <= demonstration:
        return row
    shown = None if row.demonstration is None else row.demonstration[:demonstration]
    return row._replace(question=row.question[:question], demonstration=shown)


class Together:
    """A tokenizer that can tokenize many texts together. Everything else is left to the tokenizer itself.

    One call for each text uses one core, and computes what nobody asks for, such as the tokens' places in the text.
    """

    def __init__(self, tokenizer: Any) -> None:
        self._tokenizer = tokenizer
        self._encodings: dict[str, Any] = {}

    @contextlib.contextmanager
    def together(self, texts: list[str]) -> Iterator[None]:
        """Within this context, the tokenizer knows the tokens of these texts. Tokenizers in Python (not `is_fast`) are
        called for each text."""
        if texts and self._tokenizer.is_fast:
            self._tokenizer("", add_special_tokens=False)  # sets truncation, padding and special tokens for such calls
            backend = self._tokenizer.backend_tokenizer
            self._encodings = dict(zip(texts, backend.encode_batch_fast(texts, add_special_tokens=False), strict=True))
        try:
            yield
        finally:
            self._encodings = {}

    def __call__(self, text: Any, **options: Any) -> Any:
        """The tokenizer's answer. It holds only the input_ids if the text was tokenized together with others."""
        decisive = {name: value for name, value in options.items() if name != "verbose"}
        if isinstance(text, str) and decisive == {"add_special_tokens": False} and text in self._encodings:
            return SimpleNamespace(input_ids=self._encodings[text].ids)
        return self._tokenizer(text, **options)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._tokenizer, name)

    def __len__(self) -> int:
        return len(self._tokenizer)
