"""Published results as rows of the scores table."""

from benchmarks.published import PublishedRow, PublishedTable, get_published
from benchmarks.report.inputs import ReportInputs, SuiteInfo
from benchmarks.report.measured import GROUPS, columns
from benchmarks.report.schemas import Row, sampling_columns
from benchmarks.suite import Group


def published_rows(inputs: ReportInputs) -> list[Row]:
    """Rows of SCORES for the published results in the report's columns. Raises ConfigError.

    A published average is shown as printed if the report's group has the same benchmarks. If the report shows only some
    of them, the average is recomputed and marked. If it shows others, there is no average; what the paper lacks is in
    the group "other".
    """
    if inputs.published is None:
        return []
    table = get_published(inputs.published)
    rows = []
    for place, published in enumerate(table.rows, start=len(inputs.measured)):
        shared = {
            "source": "published",
            "source_note": f"{table.title} in {table.source}, protocol {table.protocol.name}",
            "row": place,
            "model": f"published.{published.label}",
            "label": published.label,
        }
        scores = dict(zip(table.benchmarks, published.scores, strict=True))
        for column, (group, suite) in enumerate(columns(inputs)):
            if suite is not None and suite.name in scores:
                found = {"kind": "benchmark", "benchmark": suite.name, "title": suite.title, "deviations": []}
                value = scores[suite.name]
            elif suite is None and (average := _average(inputs, table, published, group)):
                value, note = average
                title = f"{GROUPS[group]} average"
                found = {"kind": "average", "benchmark": group, "title": title, "deviations": [note] if note else []}
            else:
                continue
            front: Row = {"column": column, "group": group}
            front |= {"differences": [], "published_differences": [], "warnings": []}
            measured_by = {} if suite is None else _protocol(suite)
            rows.append({**shared, **found, **front, **measured_by, "avg_at_k": round(value / 100, 6)})
    return rows


def _protocol(suite: SuiteInfo) -> Row:
    """Columns on how a published number was measured."""
    rules = suite.published
    if rules is None:
        return {}
    return {
        "protocol": rules.protocol,
        "data": rules.data,
        "k": rules.k,
        **sampling_columns(rules.sampling),
        "max_total_tokens": rules.max_total_tokens,
        "prompt": rules.prompt,
        "dtype": rules.dtype,
        "seed": rules.counted_from,
        "seeds": None if rules.counted_from is None else "counted",
        "grader_version": rules.grader,
    }


def _average(
    inputs: ReportInputs, table: PublishedTable, published: PublishedRow, group: Group
) -> tuple[float, str] | None:
    shown = [s.name for s in inputs.suites if s.group == group]
    printed = table.groups.get(group, ())
    if set(shown) == set(printed):
        return published.averages[group], ""
    if not set(shown) <= set(printed):
        return None
    scores = dict(zip(table.benchmarks, published.scores, strict=True))
    mean = sum(scores[name] for name in shown) / len(shown)
    return mean, f"mean of the {len(shown)} benchmarks shown; printed over {len(printed)}: {published.averages[group]}"
