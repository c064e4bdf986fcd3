"""Samples one by one in the style of lighteval's details: Parquet files with a row per question.

The columns are lighteval's `doc`, `model_response` and `metric`. Of their fields, `task_name`, `id`, `query`,
`choices`, `gold_index` and `text` have lighteval's names; the others are ours. A file has the questions of one block,
and the first samples of each, uncut.
"""

from collections.abc import Iterable, Sequence

import pyarrow as pa

from benchmarks.catalog.schemas import Row
from benchmarks.catalog.tables import Tables
from benchmarks.site.facts import moment
from benchmarks.site.tables import as_parquet

_TEXTS = pa.list_(pa.string())
SCHEMA = pa.schema(
    {
        "doc": pa.struct(
            {
                "task_name": pa.string(),
                "id": pa.string(),
                "query": pa.string(),
                "choices": _TEXTS,  # the gold answer
                "gold_index": pa.int64(),
            }
        ),
        "model_response": pa.struct(
            {"text": _TEXTS, "tokens": pa.list_(pa.int64()), "finish_reason": _TEXTS, "extracted": _TEXTS}
        ),
        # avg_at_k is over all k samples, and outcome is that of each sample here.
        "metric": pa.struct({"avg_at_k": pa.float64(), "k": pa.int64(), "outcome": _TEXTS}),
    }
)
INDEX = "data/lighteval.json"
"""The list of these files. A site that is served has no such file: it makes the list when it is asked for, because the
store may have lost samples since."""


def details_path(record: str, benchmark: str, number: int) -> str:
    """The file of one block of a benchmark's questions."""
    return f"data/lighteval/{record}/details_{benchmark}_{number}.parquet"


def details_index(tables: Tables, blocks: Iterable[tuple[str, str, int]]) -> list[Row]:
    """The JSON of INDEX: the files of each score, of (record, benchmark, block) each."""
    parts: dict[str, list[str]] = {}
    for record, benchmark, number in blocks:
        parts.setdefault(record, []).append(details_path(record, benchmark, number))
    columns = ("record", "pipeline", "label", "benchmark", "title", "end")
    return [
        {
            "model": tables.labels.full(row["pipeline"], row["label"]),
            **{name: row[name] for name in ("record", "benchmark", "title")},
            "end": moment(row["end"]),
            "paths": parts[row["record"]],
        }
        for row in tables.scores.select(columns).to_pylist()
        if row["record"] in parts
    ]


def details(benchmark: str, questions: Sequence[Row]) -> bytes:
    """The Parquet file of a block, as `Responses.answered` gives it."""
    return as_parquet(pa.Table.from_pylist([_row(benchmark, each) for each in questions], SCHEMA))


def _row(benchmark: str, asked: Row) -> Row:
    samples = {name: [sample[name] for sample in asked["samples"]] for name in ("tokens", "finish_reason", "extracted")}
    return {
        "doc": {
            "task_name": benchmark,
            "id": asked["id"],
            "query": asked["question"],
            "choices": [asked["gold"]],
            "gold_index": 0,
        },
        "model_response": {"text": [sample["response"] for sample in asked["samples"]], **samples},
        "metric": {
            "avg_at_k": asked["correct"] / asked["k"],
            "k": asked["k"],
            "outcome": [sample["outcome"] for sample in asked["samples"]],
        },
    }
