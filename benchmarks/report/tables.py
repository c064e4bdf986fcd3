"""The report's tables, from samples and verdicts."""

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from benchmarks.published import Group
from benchmarks.report.inputs import BenchmarkResult, ModelResult, Protocol, ReportInputs, SuiteInfo
from benchmarks.report.schemas import COMPARISONS, SAMPLES, SCORES, TRAINING_LOG
from benchmarks.significance import Counts, Difference, bootstrap_interval, compare, compare_average, holm
from hpt_core import schemas
from hpt_core.errors import DataError
from hpt_core.evaluation.metrics import Score, group_average, question_counts, score
from hpt_core.evaluation.shards import read_samples
from hpt_core.files import replacing, write_parquet

GROUPS: dict[Group, str] = {"in": "In distribution", "out": "Out of distribution"}
"""Group -> its title."""
Row = dict[str, Any]


@dataclass(frozen=True)
class Measured:
    """One model on one benchmark, scored."""

    model: ModelResult
    suite: SuiteInfo
    protocol: Protocol
    score: Score
    counts: Counts
    samples: int


def build_tables(inputs: ReportInputs, folder: Path, progress: Callable[[int, int, str], None]) -> pa.Table:
    """Write samples, scores, comparisons and training_log into `folder`; returns the scores measured here.

    Raises DataError where samples and verdicts do not belong together or a file cannot be read.
    """
    measured = _measure(inputs, folder / "samples.parquet", progress)
    write_parquet(folder / "comparisons.parquet", pa.Table.from_pylist(comparison_rows(inputs, measured), COMPARISONS))
    write_parquet(folder / "training_log.parquet", training_log(inputs))
    return pa.Table.from_pylist(score_rows(inputs, measured), SCORES)


def columns(inputs: ReportInputs) -> list[tuple[Group, SuiteInfo | None]]:
    """Columns of the leaderboard, left to right: each group's benchmarks, then its average (group, None)."""
    found: list[tuple[Group, SuiteInfo | None]] = []
    for group in GROUPS:
        members = [s for s in inputs.suites if s.group == group]
        found += [(group, suite) for suite in members]
        if members:
            found.append((group, None))
    return found


def _measure(inputs: ReportInputs, path: Path, progress: Callable[[int, int, str], None]) -> list[Measured]:
    units = list(_units(inputs))
    measured = []
    with replacing(path) as beside, pq.ParquetWriter(beside, SAMPLES, compression="zstd") as writer:
        for done, (model, suite, result) in enumerate(units):
            progress(done, len(units), f"{model.label} on {suite.title}")
            samples, verdicts = read_samples(result.samples), _read(result.verdicts, schemas.VERDICTS)
            k = result.protocol.k
            found = score(suite.name, samples, verdicts, k)
            measured.append(
                Measured(model, suite, result.protocol, found, question_counts(verdicts, k), samples.num_rows)
            )
            name = pa.array([model.name] * samples.num_rows, pa.string())
            joined = [name, *samples.columns, verdicts.column("outcome"), verdicts.column("extracted")]
            writer.write_table(pa.Table.from_arrays(joined, schema=SAMPLES))
    progress(len(units), len(units), "")
    return measured


def _units(inputs: ReportInputs) -> Iterator[tuple[ModelResult, SuiteInfo, BenchmarkResult]]:
    for model in inputs.measured:
        for suite in inputs.suites:
            if suite.name in model.results:
                yield model, suite, model.results[suite.name]


def _read(path: Path, schema: pa.Schema) -> pa.Table:
    try:
        table: pa.Table = pq.read_table(path)
    except (OSError, pa.ArrowException) as error:
        raise DataError(
            f"cannot read {path}: {str(error).splitlines()[0]}", "run the stage that makes it again"
        ) from error
    if table.schema.names != schema.names or table.schema.types != schema.types:
        raise DataError(f"{path} has other columns than {', '.join(schema.names)}", "run the stage that makes it again")
    return table.cast(schema)


def deviations(suite: SuiteInfo, protocol: Protocol, questions: int) -> list[str]:
    """How a result differs from the benchmark's own protocol, one phrase each."""
    own, used = suite.sampling, protocol.sampling
    found = []
    if questions != suite.rows:
        found.append(f"{questions} of {suite.rows} questions")
    if protocol.k != suite.k:
        found.append(f"k = {protocol.k} instead of {suite.k}")
    if used.max_tokens != own.max_tokens:
        found.append(f"{used.max_tokens} new tokens instead of {own.max_tokens}")
    if used.temperature != own.temperature:
        found.append(f"temperature {used.temperature:g} instead of {own.temperature:g}")
    if used.top_p != own.top_p:
        found.append(f"top_p {used.top_p:g} instead of {own.top_p:g}")
    return found


def score_rows(inputs: ReportInputs, measured: list[Measured]) -> list[Row]:
    """Rows of SCORES: every benchmark of every model, and the averages of groups that a model was asked in full."""
    rows = []
    for place, model in enumerate(inputs.measured):
        own = {m.suite.name: m for m in measured if m.model.name == model.name}
        shared = {
            "source": "measured",
            "source_note": inputs.pipeline,
            "row": place,
            "model": model.name,
            "label": model.label,
            "algorithm": model.algorithm,
        }
        for column, (group, suite) in enumerate(columns(inputs)):
            if suite is None:
                members = [own.get(s.name) for s in inputs.suites if s.group == group]
                whole = [m for m in members if m is not None]
                if len(whole) == len(members):
                    rows.append({**shared, "column": column, **_average_row(group, whole)})
            elif suite.name in own:
                rows.append({**shared, "column": column, **_benchmark_row(own[suite.name])})
    return rows


def _benchmark_row(m: Measured) -> Row:
    s, p = m.score, m.protocol
    bootstrap = bootstrap_interval(s.values)
    return {
        "kind": "benchmark",
        "benchmark": m.suite.name,
        "title": m.suite.title,
        "group": m.suite.group,
        "deviations": deviations(m.suite, p, s.questions),
        "questions": s.questions,
        "samples": m.samples,
        "k": s.k,
        "avg_at_k": s.mean,
        "pass_at_1": s.pass_at[0],
        "pass_at_k": s.pass_at[-1],
        "pass_curve": [{"k": j, "value": value} for j, value in enumerate(s.pass_at, 1)],
        "maj_at_k": s.majority,
        "g_pass_curve": [{"share": point.share, "value": point.value} for point in s.g_pass_at],
        "mg_pass_at_k": s.mean_g_pass,
        "standard_error": _known(s.stderr),
        "standard_error_questions": _known(math.sqrt(s.variance.questions)),
        "standard_error_samples": _known(math.sqrt(s.variance.samples)),
        "interval_low": s.low,
        "interval_high": s.high,
        "bootstrap_low": bootstrap.low,
        "bootstrap_high": bootstrap.high,
        "truncated_share": s.truncated,
        "no_answer_share": s.no_answer,
        "timeout_share": s.timeout,
        "crash_share": s.crash,
        "gold_error_share": s.gold_error,
        "mean_tokens": s.mean_tokens,
        "prompt": p.prompt,
        "temperature": p.sampling.temperature,
        "top_p": p.sampling.top_p,
        "max_tokens": p.sampling.max_tokens,
        "engine_version": p.engine_version,
        "model_hash": p.model_hash,
        "benchmark_hash": p.benchmark_hash,
        "grader_version": p.grader_version,
        "seed": p.seed,
        "limit": p.limit,
    }


def _average_row(group: Group, members: list[Measured]) -> Row:
    average = group_average([m.score for m in members])
    differing = [m.suite.title for m in members if deviations(m.suite, m.protocol, m.score.questions)]
    return {
        "kind": "average",
        "benchmark": group,
        "title": f"{GROUPS[group]} average",
        "group": group,
        "deviations": [f"another protocol than the benchmark's own on {', '.join(differing)}"] if differing else [],
        "questions": sum(m.score.questions for m in members),
        "samples": sum(m.samples for m in members),
        "avg_at_k": average.mean,
        "standard_error": _known(average.stderr),
        "interval_low": average.low,
        "interval_high": average.high,
        "model_hash": members[0].protocol.model_hash,
    }


def _known(value: float) -> float | None:
    return None if value != value else value


def protocol_differences(model: Protocol, baseline: Protocol) -> list[str]:
    """Names of the fields that keep two results from being compared; the models differ by intent."""
    return [
        field
        for field in Protocol.model_fields
        if field != "model_hash" and getattr(model, field) != getattr(baseline, field)
    ]


def comparison_rows(inputs: ReportInputs, measured: list[Measured]) -> list[Row]:
    """Rows of COMPARISONS: each model against the baseline, on the questions that both answered."""
    found = {(m.model.name, m.suite.name): m for m in measured}
    baseline = next(m for m in inputs.measured if m.name == inputs.baseline_name)
    rows = []
    for place, model in enumerate(inputs.measured):
        if model.name == baseline.name:
            continue
        for column, (group, suite) in enumerate(columns(inputs)):
            members = [s.name for s in inputs.suites if s.group == group] if suite is None else [suite.name]
            if not all((name, s) in found for name in (model.name, baseline.name) for s in members):
                continue
            pairs = [(found[model.name, s], found[baseline.name, s]) for s in members]
            if not all(set(a.counts) & set(b.counts) for a, b in pairs):
                continue
            rows.append(
                {
                    "kind": "average" if suite is None else "benchmark",
                    "row": place,
                    "column": column,
                    "model": model.name,
                    "label": model.label,
                    "baseline": baseline.name,
                    "baseline_label": baseline.label,
                    "benchmark": group if suite is None else suite.name,
                    "title": f"{GROUPS[group]} average" if suite is None else suite.title,
                    **_difference_row(pairs, average=suite is None),
                }
            )
    for kind in ("benchmark", "average"):
        family = [row for row in rows if row["kind"] == kind]
        for row, adjusted in zip(family, holm([r["p_value"] for r in family]), strict=True):
            row["p_holm"] = adjusted
    return rows


def _difference_row(pairs: list[tuple[Measured, Measured]], average: bool) -> Row:
    counts = [(model.counts, baseline.counts) for model, baseline in pairs]
    found: Difference = compare_average(counts) if average else compare(*counts[0])
    differing = {
        field for model, baseline in pairs for field in protocol_differences(model.protocol, baseline.protocol)
    }
    return {
        "questions": found.questions,
        "better": found.better,
        "worse": found.worse,
        "difference": found.difference,
        "interval_low": found.low,
        "interval_high": found.high,
        "p_value": found.p_value,
        "protocol_differences": sorted(differing),
    }


def training_log(inputs: ReportInputs) -> pa.Table:
    """The training logs of every stage, end to end, with the stage's name in front."""
    parts = [TRAINING_LOG.empty_table()]
    for model in inputs.models:
        if model.train_log is None:
            continue
        log = _read(model.train_log, schemas.TRAIN_LOG)
        front = [
            pa.array([text] * log.num_rows, pa.string()) for text in (model.name, model.label, model.algorithm or "")
        ]
        parts.append(pa.Table.from_arrays([*front, *log.columns], schema=TRAINING_LOG))
    return pa.concat_tables(parts)
