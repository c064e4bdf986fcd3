"""Assembles journal entries into shards once all samples of a benchmark exist."""

import json
from pathlib import Path
from typing import Any

import pyarrow as pa

from hpt_core.errors import DataError
from hpt_core.evaluation.journal import Entry, Place, load, read
from hpt_core.evaluation.spec import SampleSpec
from hpt_core.evaluation.units import SampleId, UnitPlan
from hpt_core.files import write_json, write_parquet
from hpt_core.schemas import SAMPLES


def assemble(spec: SampleSpec, plan: UnitPlan) -> None:
    """Write the missing shards and sampling.json. Raises DataError if a sample is missing."""
    whole = set(plan.whole_shards())
    missing = [shard for shard in plan.shards if shard not in whole]
    if not missing and (plan.unit.output / "sampling.json").is_file():
        return
    # Keep only positions in memory: the responses of a whole benchmark may take gigabytes.
    places: dict[SampleId, Place] = {}
    new: dict[str, Session] = {}
    for entry in read(plan.journal):
        key = SampleId(*(entry.row[name] for name in SampleId._fields))
        if places.setdefault(key, entry.place) is entry.place and entry.engine:
            new.setdefault(entry.session, Session(entry.engine, plan.greedy)).add(entry)
    for shard in missing:
        keys = plan.keys(shard)
        if lacking := [key for key in keys if key not in places]:
            raise DataError(
                f"benchmark {plan.unit.benchmark}: {len(lacking)} samples are missing, such as sample "
                f"{lacking[0].sample_index} of question {lacking[0].question_id}",
                "evaluate the benchmark again",
            )
        rows = [load(places[key]) for key in keys]
        write_parquet(plan.path(shard), pa.Table.from_pylist(rows, schema=SAMPLES))
    _record(spec, plan, {name: session.as_json() for name, session in new.items()})


class Session:
    """One process's samples of a benchmark. Benchmarks sampled together share its time in proportion to tokens."""

    def __init__(self, engine: str, greedy: bool) -> None:
        self.engine = engine
        self.samples = self.tokens = 0
        self._greedy = greedy
        self._questions: set[str] = set()
        self.last = (0.0, 0)
        """(Seconds, tokens of all benchmarks) when the last of these samples finished."""

    def add(self, entry: Entry) -> None:
        """Add a sample. At temperature 0 all samples of a question share one response, whose tokens count once."""
        self.samples += 1
        if not self._greedy or entry.row["question_id"] not in self._questions:
            self.tokens += entry.row["tokens"]
        if self._greedy:
            self._questions.add(entry.row["question_id"])
        self.last = max(self.last, (entry.at, entry.generated))

    def as_json(self) -> dict[str, Any]:
        """The session's record in sampling.json."""
        seconds, generated = self.last
        share = self.tokens / generated if generated else 1.0
        return {
            "engine": self.engine,
            "samples": self.samples,
            "tokens": self.tokens,
            "seconds": round(seconds * share, 3),
        }


def _record(spec: SampleSpec, plan: UnitPlan, new: dict[str, dict[str, Any]]) -> None:
    """Write sampling.json: engines, settings and speed. Records of earlier processes are kept."""
    path = plan.unit.output / "sampling.json"
    sessions = _recorded(path) | new
    tokens = sum(s["tokens"] for s in sessions.values())
    seconds = sum(s["seconds"] for s in sessions.values())
    write_json(
        path,
        {
            "benchmark": plan.unit.benchmark,
            "engines": sorted({s["engine"] for s in sessions.values()}),
            "engine_config": spec.engine.model_dump(mode="json"),
            "dtype": spec.dtype,
            "seed": plan.unit.seed,
            "seeds": plan.unit.seeds,
            "k": plan.unit.k,
            "questions": len(plan.question_ids),
            "sampling": plan.unit.sampling.model_dump(mode="json"),
            "max_total_tokens": plan.unit.max_total_tokens,
            "from_model": plan.unit.from_model,
            "prompt_example": plan.example,
            "longest_prompt_tokens": plan.longest,
            "samples": plan.samples,
            "tokens": tokens,
            "seconds": round(seconds, 3),
            "tokens_per_second": round(tokens / seconds, 1) if seconds else None,
            "sessions": sessions,
        },
    )


def _recorded(path: Path) -> dict[str, dict[str, Any]]:
    try:
        return dict(json.loads(path.read_text(encoding="utf-8"))["sessions"])
    except (OSError, ValueError, KeyError):
        return {}
