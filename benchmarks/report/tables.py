"""Builds the report's tables from samples, verdicts, training logs and contamination results."""

from collections.abc import Callable
from pathlib import Path

import pyarrow as pa

from benchmarks.report.exclusive import exclusive_table
from benchmarks.report.inputs import ReportInputs
from benchmarks.report.measured import GROUPS, Measured, columns, measure, read_table
from benchmarks.report.overlaps import Checked, write_overlaps
from benchmarks.report.protocols import protocol_differences
from benchmarks.report.schemas import COMPARISONS, SCORES, TRAINING_LOG, Row
from benchmarks.report.scores import score_rows
from benchmarks.significance import Difference, compare, compare_average, holm
from hpt_core import schemas
from hpt_core.files import write_parquet


def build_tables(inputs: ReportInputs, folder: Path, progress: Callable[[int, int, str], None]) -> pa.Table:
    """Write all tables except the scores into `folder`. Returns the measured scores.

    Raises DataError if samples and verdicts do not match or a file cannot be read.
    """
    measured = measure(inputs, folder / "samples.parquet", progress)
    checked = write_overlaps(inputs, folder / "contamination.parquet")
    comparisons = pa.Table.from_pylist(comparison_rows(inputs, measured, checked), COMPARISONS)
    write_parquet(folder / "comparisons.parquet", comparisons)
    write_parquet(folder / "exclusive.parquet", exclusive_table(inputs, measured, checked))
    write_parquet(folder / "training_log.parquet", training_log(inputs))
    return pa.Table.from_pylist(score_rows(inputs, measured, checked), SCORES)


def comparison_rows(inputs: ReportInputs, measured: list[Measured], checked: Checked) -> list[Row]:
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
                    "overlapping_questions": _overlapping(pairs, checked),
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


def _overlapping(pairs: list[tuple[Measured, Measured]], checked: Checked) -> int | None:
    """Number of compared questions that overlap either model's training data; None if a benchmark was not
    checked."""
    found = [(checked.of_pair(*pair), pair) for pair in pairs]
    counts = [len(ids & set(a.counts) & set(b.counts)) for ids, (a, b) in found if ids is not None]
    return sum(counts) if len(counts) == len(pairs) else None


def training_log(inputs: ReportInputs) -> pa.Table:
    """The training logs of all stages in sequence, with the stage's name in front."""
    parts = [TRAINING_LOG.empty_table()]
    for model in inputs.models:
        if model.train_log is None:
            continue
        log = read_table(model.train_log, schemas.TRAIN_LOG)
        front = [
            pa.array([text] * log.num_rows, pa.string()) for text in (model.name, model.label, model.algorithm or "")
        ]
        parts.append(pa.Table.from_arrays([*front, *log.columns], schema=TRAINING_LOG))
    return pa.concat_tables(parts)
