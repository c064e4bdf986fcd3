"""Tokenize or prepare one file in one way, in a separate process (bench.speed.preparation)."""

import time
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pyarrow.parquet as pq

from bench import child, memory
from hpt_core.data import prepare
from hpt_core.data.config import DataConfig
from hpt_core.data.sources.base import SourceRow
from hpt_core.data.sources.openr1 import OpenR1
from hpt_core.data.steps import normalize
from hpt_core.model_folder import load_tokenizer
from hpt_core.prompts.chat import ChatTemplate

CHUNK = 256
"""Rows in one call of the bare tokenizer."""


def measure(way: str, file: str, model: str) -> dict[str, Any]:
    """Seconds, rows, tokens and peak memory of one way."""
    load_tokenizer(Path(model))  # imports everything, which is not measured
    seconds, rows, tokens = WAYS[way](Path(file), Path(model))
    return {"seconds": seconds, "rows": rows, "tokens": tokens, "peak_gib": memory.peak_gib()}


def _config(file: Path, **changes: Any) -> DataConfig:
    limits = {"max_prompt_tokens": 10**6, "max_demonstration_tokens": 10**6}
    return DataConfig(source=OpenR1(file=file), **limits, **changes)


def _prepared(file: Path, model: Path, **changes: Any) -> tuple[float, int, int]:
    """The whole preparation: read, clean, deduplicate, count tokens, write."""
    with TemporaryDirectory() as folder:
        spec = prepare.PrepareSpec(
            config=_config(file, **changes), prompt=ChatTemplate(), model=model, output=Path(folder)
        )
        started = time.perf_counter()
        prepare.run(spec)
        seconds = time.perf_counter() - started
        counts = pq.read_table(Path(folder) / "prepared.parquet", columns=["prompt_tokens", "demonstration_tokens"])
    return seconds, counts.num_rows, sum(sum(column.to_pylist()) for column in counts.columns)


def ours(file: Path, model: Path) -> tuple[float, int, int]:
    """Without verification, which has a measurement of its own (bench.speed.grading)."""
    return _prepared(file, model, unverified="keep")


def verified(file: Path, model: Path) -> tuple[float, int, int]:
    """With verification of the demonstrations."""
    return _prepared(file, model, unverified="drop")


def bare(file: Path, model: Path) -> tuple[float, int, int]:
    """Only the tokenizer's fastest call, on the same texts. Reading and rendering are not measured."""
    tokenizer = load_tokenizer(model)
    prompt = ChatTemplate().bind(tokenizer)
    seconds, rows, tokens = 0.0, 0, 0
    for chunk in _chunks(file):
        texts = [text for row in chunk for text in (prompt.render(row.question), row.demonstration)]
        started = time.perf_counter()
        encodings = tokenizer.backend_tokenizer.encode_batch_fast(texts, add_special_tokens=False)
        seconds += time.perf_counter() - started
        rows += len(chunk)
        tokens += sum(map(len, encodings)) + len(chunk)  # each demonstration ends with an EOS token
    return seconds, rows, tokens


def single(file: Path, model: Path) -> tuple[float, int, int]:
    """One call for each text, as a prompt makes it."""
    prompt = ChatTemplate().bind(load_tokenizer(model))
    seconds, rows, tokens = 0.0, 0, 0
    for chunk in _chunks(file):
        started = time.perf_counter()
        for row in chunk:
            tokens += len(prompt.encode(row.question))
            tokens += len(prompt.encode_demonstration(row.question, row.demonstration or ""))
        seconds += time.perf_counter() - started
        rows += len(chunk)
        if rows >= SINGLE_ROWS:
            break
    return seconds, rows, tokens


SINGLE_ROWS = 1024
"""Rows that are tokenized one by one, which takes long."""


def _chunks(file: Path) -> Iterator[list[SourceRow]]:
    chunk: list[SourceRow] = []
    for row in OpenR1(file=file).read(None):
        assert isinstance(row, SourceRow)
        chunk.append(row._replace(question=normalize(row.question), demonstration=normalize(row.demonstration or "")))
        if len(chunk) == CHUNK:
            yield chunk
            chunk = []
    if chunk:
        yield chunk


WAYS = {"ours": ours, "bare": bare, "verified": verified, "single": single}

if __name__ == "__main__":
    child.answer(measure)
