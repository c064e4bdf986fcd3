"""Tokens counted in batches are those of a call for each text."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hpt_core.data.sources.base import SourceRow
from hpt_core.data.tokens import LONG, Together, TokenCounter, TokenCounts
from hpt_core.models.scratch import byte_tokenizer
from hpt_core.prompts.chat import ChatTemplate
from hpt_core.prompts.plain import PlainText

TOKENIZER = byte_tokenizer(256)
OPEN = "{% for m in messages %}{{ m['content'] }}{% endfor %}<think>\n"
"""A chat template that opens the thinking."""
LIMITS = TokenCounts(1000, 1000)


def row(question: str, demonstration: str | None) -> SourceRow:
    return SourceRow("row", "", question, "1", "math", demonstration, "")


def tokenizer(template: str | None = None) -> Any:
    made = byte_tokenizer(256)
    made.chat_template = template or made.chat_template
    return made


TEXTS = st.text(max_size=20) | st.sampled_from(["<think>\nhm", "a<eos>", "<eos>", "<bos>x", "<pad>", "", "é\u0301"])


@pytest.mark.parametrize("prompt", [PlainText(), ChatTemplate(), ChatTemplate(system="")])
@given(rows=st.lists(st.builds(row, TEXTS, st.none() | TEXTS), max_size=5), opened=st.booleans())
def test_counts_are_the_lengths_of_what_the_prompt_encodes(prompt: Any, rows: list[SourceRow], opened: bool) -> None:
    made = tokenizer(OPEN if opened else None)
    bound = prompt.bind(made)
    expected = [
        TokenCounts(
            len(bound.encode(r.question)),
            None if r.demonstration is None else len(bound.encode_demonstration(r.question, r.demonstration)),
        )
        for r in rows
    ]
    assert TokenCounter(prompt, made).count(rows, LIMITS) == expected


class Calls:
    """A tokenizer that records the texts of its calls, and the numbers of texts that its backend gets together."""

    def __init__(self) -> None:
        self._tokenizer = byte_tokenizer(256)
        self.texts: list[str] = []
        self.batches: list[int] = []
        self.backend_tokenizer = self

    def encode_batch_fast(self, texts: list[str], **options: Any) -> Any:
        self.batches.append(len(texts))
        return self._tokenizer.backend_tokenizer.encode_batch_fast(texts, **options)

    def __call__(self, text: str, **options: Any) -> Any:
        self.texts.append(text)
        return self._tokenizer(text, **options)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._tokenizer, name)


def test_all_texts_of_the_rows_are_tokenized_in_one_call() -> None:
    calls = Calls()
    counter = TokenCounter(PlainText(), calls)
    calls.texts.clear()
    counter.count([row("a", "b"), row("c", None), row("d", "<think>\ne")], LIMITS)
    assert calls.batches == [5]
    assert set(calls.texts) == {""}


def test_a_tokenizer_in_python_is_called_for_each_text() -> None:
    calls = Calls()
    calls.is_fast = False  # type: ignore[attr-defined]
    assert TokenCounter(PlainText(template="{question}", instruction=""), calls).count([row("abc", "de")], LIMITS) == [
        TokenCounts(4, 3)
    ]
    assert calls.batches == []


def test_only_the_plain_call_is_answered_from_a_batch() -> None:
    together = Together(tokenizer())
    with together.together(["<eos>"]):
        assert together("<eos>", add_special_tokens=False).input_ids == [2]
        assert len(together("<eos>", add_special_tokens=False, split_special_tokens=True).input_ids) == 5
        assert together("<eos>").input_ids == [1, 2]
    assert together.eos_token_id == 2
    assert len(together) == len(TOKENIZER)


@contextmanager
def counted(calls: Calls) -> Iterator[list[int]]:
    """Lengths of the texts that the backend gets."""
    lengths: list[int] = []
    encode = calls.encode_batch_fast

    def record(texts: list[str], **options: Any) -> Any:
        lengths.extend(map(len, texts))
        return encode(texts, **options)

    calls.encode_batch_fast = record  # type: ignore[method-assign]
    yield lengths


def test_of_a_very_long_text_only_the_beginning_is_tokenized() -> None:
    calls = Calls()
    limits = TokenCounts(10, 20)
    counter = TokenCounter(PlainText(template="{question}", instruction=""), calls)
    rows = [row("q" * 10_000_000, None), row("q", "d" * 10_000_000), row("q" * 100, "d" * 100)]
    with counted(calls) as lengths:
        long_prompt, long_demonstration, short = counter.count(rows, limits)
    assert max(lengths) == LONG
    assert long_prompt.prompt > 2 * limits.prompt
    assert long_demonstration == TokenCounts(2, LONG + 1)
    assert short == TokenCounts(101, 101)


def test_a_long_text_of_few_tokens_is_counted_whole() -> None:
    few = tokenizer()
    few.add_tokens(["=" * 400])
    rows = [row("q", "=" * 400 * 275 + "d")]
    counter = TokenCounter(PlainText(template="{question}", instruction=""), few)
    assert counter.count(rows, TokenCounts(10, 300)) == [TokenCounts(2, 277)]
