"""`python -m hpt_core.data.prepare SPEC.json`: clean, measure, verify and decontaminate training questions."""

import logging
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from hpt_core import schemas, worker
from hpt_core.base import Frozen
from hpt_core.data.config import DataConfig, Room
from hpt_core.data.decontaminate import OverlapIndex, read_questions
from hpt_core.data.sources.base import MalformedRow, SourceRow
from hpt_core.data.steps import Candidate, Preparation
from hpt_core.data.tokens import TokenCounter
from hpt_core.files import replacing, write_json
from hpt_core.model_folder import import_without_torch, load_tokenizer
from hpt_core.prompts.base import PromptConfig
from hpt_core.verifiers.pool import VerifierPool
from hpt_core.worker import Progress

logger = logging.getLogger("hpt.data")

CHUNK_ROWS = 256
CHUNK_CHARACTERS = 8_000_000
"""Rows, and characters, that are cleaned, measured, verified and written together. They bound memory for a source of
any size: three chunks are held at a time."""


class PrepareSpec(Frozen):
    """Spec of `python -m hpt_core.data.prepare`: writes prepared.parquet and report.json into `output`."""

    config: DataConfig
    prompt: PromptConfig
    model: Path
    """Model folder whose tokenizer counts the tokens."""
    benchmarks: dict[str, Path] = {}
    """Benchmark name -> its questions.parquet, for decontamination."""
    data_dir: Path | None = None
    room: Room | None = None
    """The context of the model; None drops no row for it."""
    strict: bool = False
    """Stop at the first malformed row instead of counting it."""
    workers: int = 2
    output: Path


def run(spec: PrepareSpec) -> None:
    """Write output/prepared.parquet and then output/report.json, each whole or not at all. Raises DataError."""
    overlaps = read_benchmarks(spec.benchmarks, spec.config.ngram)
    counter = TokenCounter(spec.prompt, load_tokenizer(spec.model))
    pool = None if spec.config.unverified == "keep" else VerifierPool(spec.workers)
    try:
        preparation = Preparation(spec.config, counter, overlaps, pool, spec.strict, spec.room)
        example = _write(spec, preparation, worker.progress("rows"))
    finally:
        if pool is not None:
            pool.close()
    report = preparation.tally.report()
    write_json(spec.output / "report.json", {**report, "example_prompt": counter.prompt.render(example)})
    logger.info("kept %d of %d questions", report["rows_kept"], report["rows_read"])


def read_benchmarks(benchmarks: Mapping[str, Path], ngram: int) -> OverlapIndex:
    """The index of all benchmark questions. Raises DataError if a file cannot be read."""
    index = OverlapIndex(ngram)
    for name, path in benchmarks.items():
        for question_id, question in read_questions(name, path):
            index.add(name, question_id, question)
    return index


def _write(spec: PrepareSpec, preparation: Preparation, progress: Progress) -> str:
    """Prepare chunk by chunk until the source or the limit ends. Returns the first question that was kept."""
    total = spec.config.source.count(spec.data_dir) or 0  # 0: unknown
    chunks = split(spec.config.source.read(spec.data_dir))
    tally = preparation.tally
    example: str | None = None
    with replacing(spec.output / "prepared.parquet") as beside:
        with pq.ParquetWriter(beside, schemas.PREPARED, compression="zstd") as file:
            for kept in preparation.keep(chunks):
                if kept:
                    example = example or kept[0].row.question
                    file.write_table(pa.Table.from_pylist(list(_records(kept)), schemas.PREPARED))
                progress(tally.read, total and max(total, tally.read), f"{tally.kept} of {tally.read} kept")
        if example is None:
            raise tally.nothing_left()
    return example


def split(rows: Iterable[SourceRow | MalformedRow]) -> Iterator[list[SourceRow | MalformedRow]]:
    """The rows in chunks of at most CHUNK_ROWS, fewer if they are long."""
    chunk: list[SourceRow | MalformedRow] = []
    size = 0
    for row in rows:
        chunk.append(row)
        size += sum(len(text or "") for text in row)
        if len(chunk) == CHUNK_ROWS or size >= CHUNK_CHARACTERS:
            yield chunk
            chunk, size = [], 0
    if chunk:
        yield chunk


def _records(questions: Iterable[Candidate]) -> Iterator[dict[str, Any]]:
    for q in questions:
        yield {
            "question_id": q.row.question_id,
            "question": q.row.question,
            "gold": q.row.gold,
            "kind": q.row.kind,
            "family": q.row.family,
            "prompt_tokens": q.prompt_tokens,
            "demonstration": q.row.demonstration,
            "demonstration_tokens": q.demonstration_tokens,
            "demonstration_verdict": q.verdict,
        }


def _main(spec: PrepareSpec) -> None:
    import_without_torch(spec.config.source, spec.prompt)
    run(spec)


if __name__ == "__main__":
    worker.main(PrepareSpec, _main)
