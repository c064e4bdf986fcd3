"""The score of one model on one benchmark, as the catalog has it: from samples, verdicts and their manifests."""

import hashlib
import json
import math
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from benchmarks.catalog.records import Contribution, QuestionScores
from benchmarks.catalog.schemas import QUESTION_SCORES, Row
from benchmarks.suite import Suite
from hpt_core.artifacts import Manifest
from hpt_core.errors import ConfigError, DataError, StoreError
from hpt_core.evaluation.metrics import clustered_stderr, estimate
from hpt_core.files import sha256_json
from hpt_core.rollout.base import Sampling
from hpt_core.verifiers.base import Outcome
from tasks.execution.catalog import Stored

SAMPLES, VERDICTS = "samples", "verdicts"
"""Kinds of artifacts of an evaluation, and the names of their outputs."""
OF_THE_RUN = ("models", "suites", "engine", "dtype", "seed", "shard_samples", "budget")
"""Fields of [evaluate] that are compared otherwise, or that change no sample."""
Sums = npt.NDArray[np.int64]
"""[Q]"""


def contribution(stored: Stored) -> Contribution:
    """What samples or verdicts add to the catalog. Raises StoreError if what they were made from is gone, and DataError
    if samples and verdicts do not fit each other."""
    if stored.manifest.kind == SAMPLES:
        return Contribution({"stages": [{"tokens": _recorded(stored).get("tokens")}]})
    if not _is_score(stored):
        return Contribution({})
    samples, asked = _needed(stored, "samples"), _needed(stored, "questions")
    protocol = _protocol(stored, samples, asked)
    name, benchmark, k = sha256_json(protocol), protocol["benchmark"], protocol["k"]
    counted = _counted(samples.file(SAMPLES), stored.file(f"{VERDICTS}.parquet"), k)
    correct = counted.correct.tolist()
    total = k * len(correct)
    values = [c / k for c in correct]
    mean, low, high = estimate(values)
    error = clustered_stderr(values)
    title, group = _shown(benchmark)
    evaluation = stored.run.config.get("evaluate") if stored.run and isinstance(stored.run.config, dict) else None
    # Verdicts of earlier releases do not name the model.
    model = stored.manifest.inputs.get("model") or samples.manifest.inputs["model"]
    score = {
        **stored.front,
        "model": model,
        "stage": str(stored.stage),
        "label": stored.stage.name,
        "benchmark": benchmark,
        "title": title,
        "group": group,
        "protocol": name,
        "evaluation": _evaluation(protocol, stored, evaluation),
        "suites": [_name(suite) for suite in evaluation["suites"]] if evaluation else [benchmark],
        "rows": protocol["rows"],
        "questions": len(correct),
        "complete": len(correct) == protocol["rows"],
        "k": k,
        "samples": total,
        "avg_at_k": mean,
        "interval_low": low,
        "interval_high": high,
        "standard_error": None if math.isnan(error) else error,
        "solved": int((2 * counted.correct > k).sum()),
        "truncated_share": int(counted.truncated.sum()) / total,
        "mean_tokens": int(counted.tokens.sum()) / total,
        "correct": correct,
        "lengths": counted.lengths,
        "outcomes": counted.outcomes,
        "end": stored.manifest.end,
    }
    rule = _name(evaluation["protocol"]) if evaluation and evaluation.get("protocol") else None
    rows = {"scores": [score], "protocols": [{"record": stored.record, "protocol": name, "name": rule, **protocol}]}
    columns = {
        "record": [stored.record] * len(correct),
        "protocol": [name] * len(correct),
        "question_id": counted.ids,
        "correct": counted.correct,
        "k": np.full(len(correct), k),
        "tokens": counted.tokens,
        "truncated": counted.truncated,
    }
    return Contribution(rows, QuestionScores(benchmark, model, pa.table(columns).cast(QUESTION_SCORES)))


def grader_version(verdicts: Manifest) -> str:
    """Version of the verifier that gave the verdicts: the first of their versions. The others are hashes of code."""
    return next(iter(verdicts.versions.values()), "")


def _name(plugin: Any) -> str:
    """Name of a plug-in in a dumped config, which has only the name if nothing else is set."""
    return plugin if isinstance(plugin, str) else str(plugin["name"])


def _is_score(stored: Stored) -> bool:
    """Whether the artifact is the verdicts of a benchmark's own verifier."""
    return stored.manifest.kind == VERDICTS and "grader" not in stored.manifest.config


def _needed(stored: Stored, role: str) -> Stored:
    found = stored.input(role)
    if found is None:
        raise StoreError(f"the {role} of {stored.manifest.stage} are not in the store any more", "evaluate it again")
    return found


class Counted(NamedTuple):
    """Sums over the samples of each question, ordered by question id."""

    ids: list[str]
    correct: Sums
    tokens: Sums
    truncated: Sums
    lengths: list[int]
    """Samples of at most 1 token, of up to 2, 4, 8 and so on."""
    outcomes: dict[str, int]
    """Samples of each outcome."""


def _counted(samples: Path, verdicts: Path, k: int) -> Counted:
    """Raises DataError unless both hold the samples 0 to k - 1 of each question, in the same order."""
    sampled = _read(sorted(samples.glob("part-*.parquet")), ["question_id", "sample_index", "tokens", "finish_reason"])
    graded = _read([verdicts], ["question_id", "sample_index", "outcome"])
    count, rest = divmod(sampled.num_rows, k)
    ids = sampled.column("question_id").combine_chunks()
    firsts = ids.take(pa.array(np.arange(0, count * k, k)))
    fits = (
        rest == 0
        and count > 0
        and len(firsts.unique()) == count
        and sampled.select([0, 1]).equals(graded.select([0, 1]))
        and ids.equals(firsts.take(pa.array(np.repeat(np.arange(count), k))))
        and np.array_equal(_numbers(sampled.column("sample_index")), np.tile(np.arange(k), count))
    )
    if not fits:
        raise DataError(
            f"{verdicts} does not have the samples 0 to {k - 1} of each question in {samples}, in their order",
            "sample and grade again",
        )
    correct = _numbers(pc.equal(graded.column("outcome"), str(Outcome.CORRECT)))
    cut = _numbers(pc.equal(sampled.column("finish_reason"), "length"))
    order = np.argsort(np.array(names := firsts.to_pylist()))
    tokens = _numbers(sampled.column("tokens"))
    solved, spent, ended = (each.reshape(count, k).sum(axis=1)[order] for each in (correct, tokens, cut))
    lengths = np.bincount(np.ceil(np.log2(np.maximum(tokens, 1))).astype(int)).tolist()
    found = {each["values"]: each["counts"] for each in graded.column("outcome").value_counts().to_pylist()}
    outcomes = {str(outcome): found.get(outcome, 0) for outcome in Outcome}
    return Counted(sorted(names), solved, spent, ended, lengths, outcomes)


def _numbers(column: pa.ChunkedArray) -> Sums:
    return column.cast(pa.int64()).to_numpy()  # type: ignore[no-any-return]


def _read(paths: list[Path], columns: list[str]) -> pa.Table:
    try:
        return pa.concat_tables([pq.ParquetFile(path).read(columns) for path in paths])
    except (OSError, pa.ArrowException) as error:
        names = ", ".join(map(str, paths))
        raise DataError(f"cannot read {names}: {str(error).splitlines()[0]}", "sample and grade again") from error


def _protocol(stored: Stored, samples: Stored, asked: Stored) -> Row:
    """How the score was measured: the columns of PROTOCOLS that decide whether two numbers are comparable."""
    sampled, verdicts, recorded = samples.manifest, stored.manifest, _recorded(samples)
    config = sampled.config
    from_model = bool(recorded.get("from_model"))
    sampling = Sampling.model_validate(recorded["sampling"] if from_model else config["sampling"])
    example = recorded.get("prompt_example")
    return {
        "benchmark": config["benchmark"],
        "k": config["k"],
        "rows": asked.manifest.facts["rows"],
        "asked": asked.manifest.facts["asked"],
        "prompt": _json(config["prompt"]),
        "instruction": config.get("instruction"),
        "prompt_hash": f"sha256:{hashlib.sha256(example.encode()).hexdigest()}" if example else None,
        "temperature": sampling.temperature,
        "top_p": sampling.top_p,
        "max_tokens": sampling.max_tokens,
        "max_total_tokens": config.get("max_total_tokens"),
        "sampling": _json(sampling.model_dump(mode="json")),
        "from_model": from_model,
        "engine": _json(config["engine"]),
        "engine_version": ", ".join(recorded.get("engines") or [sampled.versions["engine"]]),
        "dtype": config["dtype"],
        "seed": config["seed"],
        "seeds": config.get("seeds", "derived"),
        "grader_version": grader_version(verdicts),
        "grade_timeout_s": verdicts.config["timeout_s"],
        "benchmark_hash": verdicts.inputs["questions"],
    }


def _evaluation(protocol: Row, stored: Stored, evaluation: dict[str, Any] | None) -> str:
    """Hash of what an evaluation sets for all of its benchmarks."""
    shared = {name: protocol[name] for name in ("engine", "engine_version", "dtype", "seed", "seeds", "from_model")}
    if evaluation is None or stored.run is None:
        return sha256_json(shared)
    own = {name: value for name, value in evaluation.items() if name not in OF_THE_RUN}
    return sha256_json({**shared, "evaluate": own, "prompt": stored.run.config.get("prompt")})


def _recorded(samples: Stored) -> dict[str, Any]:
    """What the samples' worker recorded; empty if nothing."""
    try:
        found: dict[str, Any] = json.loads(samples.file("sampling.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return found


@lru_cache(256)
def _shown(benchmark: str) -> tuple[str, str | None]:
    """Title and group of a benchmark, if it is installed."""
    try:
        suite: Suite = Suite.plugin_kind.load(benchmark)
    except ConfigError:
        return benchmark, None
    return suite.title, suite.group


def _json(value: Any) -> str:
    return json.dumps(value, sort_keys=True, ensure_ascii=False)
