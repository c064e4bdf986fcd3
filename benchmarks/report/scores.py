"""The measured rows of the scores table."""

import math
from collections import Counter

import numpy as np

from benchmarks.catalog.paired import BenchmarkCounts, not_distinguishable
from benchmarks.report.inputs import Protocol, ReportInputs
from benchmarks.report.measured import GROUPS, Measured, columns
from benchmarks.report.overlaps import Checked, clean, clean_average, clean_columns
from benchmarks.report.protocols import deviations, differences, published_differences
from benchmarks.report.schemas import Row, sampling_columns
from benchmarks.significance import bootstrap_interval
from benchmarks.suite import Group
from hpt_core.evaluation.metrics import ScoreInterval, combined, group_average


def score_rows(inputs: ReportInputs, measured: list[Measured], checked: Checked) -> list[Row]:
    """Rows of SCORES: every benchmark of every model, and averages of groups in which the model has all benchmarks."""
    references = _references(inputs, measured)
    rows = []
    for place, model in enumerate(inputs.measured):
        own = {m.suite.name: m for m in measured if m.model.name == model.name}
        cleaned = {name: clean(m, checked) for name, m in own.items()}
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
                    average = clean_columns(clean_average([cleaned[m.suite.name] for m in whole]), checked)
                    rows.append({**shared, "column": column, **_average_row(group, whole, references), **average})
            elif suite.name in own:
                m = own[suite.name]
                overlaps = clean_columns(cleaned[suite.name], checked)
                rows.append({**shared, "column": column, **_benchmark_row(m, references[suite.name]), **overlaps})
    for column in {row["column"] for row in rows}:
        _mark_best([row for row in rows if row["column"] == column], inputs, measured)
    return rows


def _mark_best(rows: list[Row], inputs: ReportInputs, measured: list[Measured]) -> None:
    """Set `best` in the rows of one column: the highest number, and all that a paired test does not tell from it.

    Only numbers of one protocol compete, without a warning and without questions that overlap training data. None is
    best if fewer than two compete, or if none of them solved anything.
    """
    _, suite = columns(inputs)[rows[0]["column"]]
    names = [s.name for s in inputs.suites if s.group == rows[0]["group"]] if suite is None else [suite.name]
    found = {(m.model.name, m.suite.name): m.counts for m in measured}
    competing: list[Row] = []
    for row in rows:
        row["best"] = False
        if row["differences"] or row["warnings"] or row.get("overlapping_questions"):
            continue
        first = competing[0]["model"] if competing else row["model"]
        if all(found[row["model"], name].keys() == found[first, name].keys() for name in names):
            competing.append(row)
    if len(competing) < 2 or not any(row["avg_at_k"] for row in competing):
        return
    members = []
    for name in names:
        counts = [found[row["model"], name] for row in competing]
        ids = sorted(counts[0])
        members.append(BenchmarkCounts(np.array([[each[i][0] for i in ids] for each in counts]), counts[0][ids[0]][1]))
    highest = max(range(len(competing)), key=lambda place: competing[place]["avg_at_k"])
    for row, same in zip(competing, not_distinguishable(members, highest), strict=True):
        row["best"] = bool(same)


def _references(inputs: ReportInputs, measured: list[Measured]) -> dict[str, Measured]:
    """Benchmark -> the result with which its column is compared: one by the protocol of most models, of protocols that
    asked the whole benchmark if there are any. If several are as frequent, the baseline's, or else the first."""
    found: dict[str, Measured] = {}
    for suite in inputs.suites:
        own = [m for m in measured if m.suite.name == suite.name]
        own.sort(key=lambda m: m.model.name != inputs.baseline_name)
        counts = Counter(map(_protocol, own))
        if own:
            found[suite.name] = max(own, key=lambda m: (m.score.questions == suite.rows, counts[_protocol(m)]))
    return found


def _protocol(m: Measured) -> str:
    """The fields in which comparable results are equal."""
    return m.protocol.model_dump_json(exclude={"model_hash"})


def _differences(m: Measured, reference: Measured) -> list[str]:
    return [f"unlike {reference.model.label}: {phrase}" for phrase in differences(m.protocol, reference.protocol)]


def _benchmark_row(m: Measured, reference: Measured) -> Row:
    s = m.score
    bootstrap = bootstrap_interval(s.values)
    return {
        "kind": "benchmark",
        "benchmark": m.suite.name,
        "title": m.suite.title,
        "group": m.suite.group,
        "deviations": deviations(m.suite, m.protocol, s.questions),
        "differences": _differences(m, reference),
        "warnings": [f"all {m.samples:,} responses are {alike}" for alike in m.alike],
        "published_differences": published_differences(m.suite, m.protocol, s.questions),
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
        "repetition_share": s.repetition,
        "no_answer_share": s.no_answer,
        "timeout_share": s.timeout,
        "crash_share": s.crash,
        "gold_error_share": s.gold_error,
        "mean_tokens": s.mean_tokens,
        "other_scores": [_other(grader, found) for grader, found in m.others.items()] or None,
        "data": m.suite.data or None,
        **_protocol_columns(m.protocol),
    }


def _protocol_columns(p: Protocol) -> Row:
    columns = {name: value for name, value in p if name not in ("sampling", "k")}
    return {**columns, **sampling_columns(p.sampling)}


def _average_row(group: Group, members: list[Measured], references: dict[str, Measured]) -> Row:
    average = group_average([m.score for m in members])
    deviating = [m.suite.title for m in members if deviations(m.suite, m.protocol, m.score.questions)]
    alike = [m.suite.title for m in members if m.alike]
    differing = [m.suite.title for m in members if _differences(m, references[m.suite.name])]
    unlike = [m.suite.title for m in members if published_differences(m.suite, m.protocol, m.score.questions)]
    graders = list(dict.fromkeys(grader for m in members for grader in m.others))
    shared = [grader for grader in graders if all(grader in m.others for m in members)]
    return {
        "kind": "average",
        "benchmark": group,
        "title": f"{GROUPS[group]} average",
        "group": group,
        "deviations": [f"not the protocol {members[0].suite.rules.protocol} on {', '.join(deviating)}"]
        if deviating
        else [],
        "differences": [f"protocol differs from the others on {', '.join(differing)}"] if differing else [],
        "warnings": [f"all responses are alike on {', '.join(alike)}"] if alike else [],
        "published_differences": [f"protocol differs from the published one on {', '.join(unlike)}"] if unlike else [],
        "other_scores": [_other(grader, combined([m.others[grader] for m in members])) for grader in shared] or None,
        "questions": sum(m.score.questions for m in members),
        "samples": sum(m.samples for m in members),
        "avg_at_k": average.mean,
        "truncated_share": max(m.score.truncated for m in members),
        "standard_error": _known(average.stderr),
        "interval_low": average.low,
        "interval_high": average.high,
        **_shared_columns([{"k": m.protocol.k, **_protocol_columns(m.protocol)} for m in members]),
    }


def _other(grader: str, found: ScoreInterval) -> Row:
    return {"grader": grader, "avg_at_k": found.mean, "low": found.low, "high": found.high}


def _shared_columns(protocols: list[Row]) -> Row:
    """The columns that are equal in all rows."""
    first = protocols[0]
    return {name: value for name, value in first.items() if all(p[name] == value for p in protocols)}


def _known(value: float) -> float | None:
    return None if value != value else value
