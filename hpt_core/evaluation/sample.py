"""`python -m hpt_core.evaluation.sample SPEC.json`: one engine draws every missing shard of every unit.

A shard is a Parquet file that appears whole or not at all, so a crash loses the shard in flight and no other. The
seed of a sample depends on the run's seed, the benchmark, the question and the sample index alone, and a shard's bounds
on its unit alone: in float32 on a CPU a run that was cut off ends with the samples of one that was not. On GPUs the
shape of a batch moves bf16 results; the engine's `batch_invariant` is the way out. Engine version, speed and a prompt
example go to sampling.json beside the samples' folder, never into the samples.
"""

import json
import logging
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa

from hpt_core.config import SampleSpec, SampleUnit
from hpt_core.errors import PreflightError
from hpt_core.evaluation.shards import Shard, is_whole, plan, read_questions
from hpt_core.files import write_json, write_parquet
from hpt_core.prompts.base import Prompt
from hpt_core.rollout.base import Request, Rollout, RolloutEngine
from hpt_core.schemas import SAMPLES
from hpt_core.seeds import derive
from hpt_core.worker import main, progress

logger = logging.getLogger("hpt.evaluation.sample")


@dataclass(frozen=True, slots=True)
class UnitPlan:
    """One unit with its prompts and its shards."""

    unit: SampleUnit
    question_ids: tuple[str, ...]
    prompts: tuple[tuple[int, ...], ...]
    """Token ids of each question's prompt."""
    example: str
    """Text of the first prompt."""
    seed: int
    """The run's seed."""
    shards: tuple[Shard, ...]

    @property
    def samples(self) -> int:
        """Samples of the whole unit."""
        return len(self.question_ids) * self.unit.k

    @property
    def longest(self) -> int:
        """Tokens of the longest prompt."""
        return max(map(len, self.prompts))

    def path(self, shard: Shard) -> Path:
        """Where the shard's file is."""
        return self.unit.output / "samples" / shard.file_name

    def keys(self, shard: Shard) -> list[tuple[str, int, int]]:
        """(question_id, sample_index, seed) of the shard's rows, in order."""
        benchmark, k = self.unit.benchmark, self.unit.k
        return [
            (question_id, index, derive(self.seed, "evaluation", benchmark, question_id, index))
            for question_id in self.question_ids[shard.start : shard.stop]
            for index in range(k)
        ]

    def missing(self) -> list[Shard]:
        """Shards to draw. Files that are damaged, half-written or belong to another plan are removed."""
        for path in (self.unit.output / "samples").glob(".*.tmp"):
            path.unlink()
        whole = {self.path(shard) for shard in self.shards if is_whole(self.path(shard), self.keys(shard))}
        for path in sorted((self.unit.output / "samples").glob("part-*.parquet")):
            if path not in whole:
                logger.warning("%s is damaged or belongs to another plan: it is drawn again", path)
                path.unlink()
        return [shard for shard in self.shards if self.path(shard) not in whole]


def run(spec: SampleSpec) -> None:
    """Draw what is missing. Raises DataError, ModelError, PreflightError (nothing drawn yet) and EngineError."""
    from hpt_core.training.model import context_length, load_tokenizer, read_config

    context = context_length(read_config(spec.model))
    prompt = spec.prompt.bind(load_tokenizer(spec.model))
    plans = [_plan(spec, unit, prompt) for unit in spec.units]
    _preflight(context, plans)
    missing = [(p, p.missing()) for p in plans]
    total = sum(p.samples for p in plans)
    left = sum((s.stop - s.start) * p.unit.k for p, shards in missing for s in shards)
    logger.info("%d of %d samples are there already", total - left, total)
    report = progress("samples")
    report(total - left, total, "")
    if not left:
        return
    length = max(p.longest + p.unit.sampling.max_tokens for p in plans)
    engine = spec.engine.open(spec.model, length, spec.dtype, spec.seed)
    try:
        done, tokens, started = total - left, 0, time.monotonic()
        for p, shards in missing:
            for shard in shards:
                speed = f", {tokens / (time.monotonic() - started):,.0f} tokens/s" if tokens else ""

                def advance(count: int, _: int, base: int = done, text: str = p.unit.benchmark + speed) -> None:
                    report(base + count, total, text)

                begun = time.monotonic()
                table = draw(engine, p, shard, advance)
                write_parquet(p.path(shard), table)
                _record(spec, p, shard, engine.version, table, time.monotonic() - begun)
                done += table.num_rows
                tokens += sum(table.column("tokens").to_pylist())
                report(done, total, f"{p.unit.benchmark}, {tokens / (time.monotonic() - started):,.0f} tokens/s")
    finally:
        engine.close()


def draw(engine: RolloutEngine, p: UnitPlan, shard: Shard, advance: Callable[[int, int], None]) -> pa.Table:
    """The shard's samples as a table of schema SAMPLES; `advance(done, total)` counts them as they finish.

    At temperature 0 all samples of a question are the same, so one is drawn and stands for every index.
    """
    keys = p.keys(shard)
    prompts = dict(zip(p.question_ids, p.prompts, strict=True))
    repeat = p.unit.k if p.unit.sampling.temperature == 0 else 1
    requests = [Request(prompts[question_id], seed) for question_id, _, seed in keys[::repeat]]

    def counted(done: int, total: int) -> None:
        advance(done * repeat, total * repeat)

    rollouts = engine.generate(requests, p.unit.sampling, counted)
    rows = [
        _row(p.unit.benchmark, key, len(prompts[key[0]]), rollout)
        for key, rollout in zip(keys, (r for r in rollouts for _ in range(repeat)), strict=True)
    ]
    return pa.Table.from_pylist(rows, schema=SAMPLES)


def _row(benchmark: str, key: tuple[str, int, int], prompt_tokens: int, rollout: Rollout) -> dict[str, object]:
    question_id, index, seed = key
    return {
        "benchmark": benchmark,
        "question_id": question_id,
        "sample_index": index,
        "seed": seed,
        "response": rollout.text,
        "tokens": len(rollout.token_ids),
        "prompt_tokens": prompt_tokens,
        "finish_reason": rollout.finish_reason,
    }


def _plan(spec: SampleSpec, unit: SampleUnit, prompt: Prompt) -> UnitPlan:
    table = read_questions(unit.questions)
    if table.num_rows == 0:
        raise PreflightError(f"benchmark {unit.benchmark} has no questions", f"check {unit.questions}")
    questions = table.column("question").to_pylist()
    if unit.sampling.temperature == 0 and unit.k > 1:
        logger.warning("%s: at temperature 0 the %d samples of a question are the same", unit.benchmark, unit.k)
    return UnitPlan(
        unit=unit,
        question_ids=tuple(table.column("question_id").to_pylist()),
        prompts=tuple(tuple(prompt.encode(question, unit.instruction)) for question in questions),
        example=prompt.render(questions[0], unit.instruction),
        seed=spec.seed,
        shards=tuple(plan(len(questions), unit.k, spec.shard_samples)),
    )


def _preflight(context: int, plans: list[UnitPlan]) -> None:
    """Raise PreflightError where a prompt and its answer do not fit into a context of `context` tokens."""
    for p in plans:
        wanted = p.unit.sampling.max_tokens
        if p.longest + wanted > context:
            question_id = p.question_ids[[len(ids) for ids in p.prompts].index(p.longest)]
            room = context - p.longest
            remedy = f"set evaluate.max_tokens to {room} or less, or " if room > 0 else "leave the benchmark out, or "
            raise PreflightError(
                f"{p.unit.benchmark}: the longest prompt ({p.longest} tokens, question {question_id}) and max_tokens "
                f"{wanted} make {p.longest + wanted} tokens; the model's context has {context}",
                f"{remedy}raise the model's max_position_embeddings",
            )


def _record(spec: SampleSpec, p: UnitPlan, shard: Shard, version: str, table: pa.Table, seconds: float) -> None:
    """Put the shard's cost into sampling.json; figures of shards drawn by an earlier run stay."""
    path = p.unit.output / "sampling.json"
    shards = _recorded(path)
    tokens = sum(table.column("tokens").to_pylist())
    shards[shard.file_name] = {
        "engine": version,
        "samples": table.num_rows,
        "tokens": tokens,
        "seconds": round(seconds, 3),
    }
    shards = {name: shards[name] for name in sorted(shards) if name in {s.file_name for s in p.shards}}
    totals = {name: sum(s[name] for s in shards.values()) for name in ("samples", "tokens", "seconds")}
    write_json(
        path,
        {
            "benchmark": p.unit.benchmark,
            "engines": sorted({s["engine"] for s in shards.values()}),
            "engine_config": spec.engine.model_dump(mode="json"),
            "dtype": spec.dtype,
            "seed": spec.seed,
            "k": p.unit.k,
            "questions": len(p.question_ids),
            "sampling": p.unit.sampling.model_dump(mode="json"),
            "prompt_example": p.example,
            "longest_prompt_tokens": p.longest,
            **totals,
            "tokens_per_second": round(totals["tokens"] / totals["seconds"], 1) if totals["seconds"] else None,
            "shards": shards,
        },
    )


def _recorded(path: Path) -> dict[str, Any]:
    try:
        return dict(json.loads(path.read_text(encoding="utf-8"))["shards"])
    except (OSError, ValueError, KeyError):
        return {}


if __name__ == "__main__":
    main(SampleSpec, run)
