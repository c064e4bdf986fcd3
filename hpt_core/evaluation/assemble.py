"""From journals to shards, once every sample of a benchmark is there."""

import json
from pathlib import Path
from typing import Any

import pyarrow as pa

from hpt_core.config import SampleSpec
from hpt_core.errors import DataError
from hpt_core.evaluation.journal import Entry, Row, read
from hpt_core.evaluation.units import Key, UnitPlan
from hpt_core.files import write_json, write_parquet
from hpt_core.schemas import SAMPLES


def assemble(spec: SampleSpec, plan: UnitPlan) -> None:
    """Write the shards that are missing, and sampling.json. Raises DataError where a sample is missing."""
    whole = set(plan.whole_shards())
    missing = [shard for shard in plan.shards if shard not in whole]
    if not missing and (plan.unit.output / "sampling.json").is_file():
        return
    entries: dict[Key, Entry] = {}
    for entry in read(plan.journal):
        entries.setdefault(Key(*(entry.row[name] for name in Key._fields)), entry)
    for shard in missing:
        keys = plan.keys(shard)
        if lacking := [key for key in keys if key not in entries]:
            raise DataError(
                f"benchmark {plan.unit.benchmark}: {len(lacking)} samples were not drawn, such as sample "
                f"{lacking[0].sample_index} of question {lacking[0].question_id}",
                "evaluate the benchmark again",
            )
        rows: list[Row] = [entries[key].row for key in keys]
        write_parquet(plan.path(shard), pa.Table.from_pylist(rows, schema=SAMPLES))
    _record(spec, plan, list(entries.values()))


def _record(spec: SampleSpec, plan: UnitPlan, entries: list[Entry]) -> None:
    """What was drawn by which engine, how fast; what an earlier sampling.json says of other processes stays."""
    path = plan.unit.output / "sampling.json"
    sessions = _recorded(path) | _sessions(entries)
    tokens = sum(s["tokens"] for s in sessions.values())
    seconds = sum(s["seconds"] for s in sessions.values())
    write_json(
        path,
        {
            "benchmark": plan.unit.benchmark,
            "engines": sorted({s["engine"] for s in sessions.values()}),
            "engine_config": spec.engine.model_dump(mode="json"),
            "dtype": spec.dtype,
            "seed": spec.seed,
            "k": plan.unit.k,
            "questions": len(plan.question_ids),
            "sampling": plan.unit.sampling.model_dump(mode="json"),
            "prompt_example": plan.example,
            "longest_prompt_tokens": plan.longest,
            "samples": plan.samples,
            "tokens": tokens,
            "seconds": round(seconds, 3),
            "tokens_per_second": round(tokens / seconds, 1) if seconds else None,
            "sessions": sessions,
        },
    )


def _sessions(entries: list[Entry]) -> dict[str, dict[str, Any]]:
    """A process draws several benchmarks at once: each has the part of its time that it has of its tokens."""
    found: dict[str, dict[str, Any]] = {}
    for entry in entries:
        session = found.setdefault(entry.session, {"engine": entry.engine, "samples": 0, "tokens": 0, "last": entry})
        session["samples"] += 1
        session["tokens"] += entry.row["tokens"]
        session["last"] = max(session["last"], entry, key=lambda e: e.at)
    for session in found.values():
        last = session.pop("last")
        session["seconds"] = round(last.at * min(1.0, session["tokens"] / last.drawn) if last.drawn else last.at, 3)
    return found


def _recorded(path: Path) -> dict[str, dict[str, Any]]:
    try:
        return dict(json.loads(path.read_text(encoding="utf-8"))["sessions"])
    except (OSError, ValueError, KeyError):
        return {}
