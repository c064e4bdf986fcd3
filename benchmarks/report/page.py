"""The static page: one file that works from disk and from any web server, and makes no network requests."""

import base64
import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import resources
from itertools import groupby, islice
from pathlib import Path
from typing import Any

import pyarrow as pa

from benchmarks.curves import CURVES, last_steps, steps_per_point, thinned
from benchmarks.figures import PAGE, ChartLine, Mark, interval_chart, key, line_chart
from benchmarks.report.board import OVERLAP_MARK, Board, overlap_details, percent
from benchmarks.report.exclusive_view import matrices
from benchmarks.report.inputs import ReportInputs
from benchmarks.report.markdown import BEST, PAIR_OVERLAPS, QUARTERS_MEAN, TRAINED, footnotes
from benchmarks.report.measured import GROUPS
from benchmarks.report.trained import trained
from hpt_core.files import write_text
from hpt_core.texts import harmless

SHARES = ("success_rate", "validation_reward", "demonstration_share")
"""Metrics that are shown in percent."""
SIZE = (380, 230)
"""Width and height of a training curve."""
SIGNIFICANT = 0.05
MOST = 20
"""Models up to which the page shows all pairs of them, whose number grows with its square. Also the lines of a figure:
no two of them look the same."""


@dataclass(frozen=True)
class Delta:
    """One difference to the baseline on the page."""

    value: float
    text: str
    interval: str
    verdict: str
    """ "better" or "worse" if the corrected p-value is under SIGNIFICANT and the protocols agree, else "even"."""
    comparable: bool
    mark: str
    """Marks beside the number: not comparable, or questions that overlap training data."""
    details: tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class Tables:
    """Tables for the page besides the scores. Each has the schema of its name."""

    comparisons: pa.Table
    exclusive: pa.Table
    training_log: pa.Table


def write_site(inputs: ReportInputs, board: Board, tables: Tables, folder: Path) -> None:
    """Write index.html into `folder`."""
    write_text(folder / "index.html", render(inputs, board, tables))


def render(inputs: ReportInputs, board: Board, tables: Tables) -> str:
    """The page's HTML. All texts from configs are escaped and harmless, and a content security policy blocks all other
    scripts."""
    from jinja2 import Environment, PackageLoader, StrictUndefined

    environment = Environment(
        loader=PackageLoader("benchmarks.report"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    script = _template("page.js")
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    trainings = [m for m in inputs.models if m.train_log] if tables.training_log.num_rows else []
    colors = {m.name: place for place, m in enumerate(sorted(inputs.models, key=lambda m: m.train_log is None))}
    page = environment.get_template("page.html.j2").render(
        inputs=inputs,
        board=board,
        groups=GROUPS,
        facts=_facts(inputs, board),
        footnotes=footnotes(board),
        best=BEST,
        overlap_mark=OVERLAP_MARK,
        pair_overlaps=PAIR_OVERLAPS,
        deltas=_deltas(board, tables.comparisons),
        has_pairs=tables.exclusive.num_rows > 0,
        matrices=matrices(tables.exclusive) if len(inputs.measured) <= MOST else [],
        most=MOST,
        baseline=next(m.label for m in inputs.models if m.name == inputs.baseline_name),
        significant=SIGNIFICANT,
        averages=averages(board, colors),
        trained=trained(tables.training_log),
        trained_columns=TRAINED,
        quarters_mean=QUARTERS_MEAN,
        curves=curves(tables.training_log, colors),
        trainings=len(trainings),
        legend=[(m.label, key(colors[m.name], PAGE)) for m in trainings[:MOST]],
        style=_template("page.css"),
        script=script,
        script_hash=digest,
    )
    return harmless(page)


def _template(name: str) -> str:
    return resources.files("benchmarks.report").joinpath("templates", name).read_text(encoding="utf-8")


def _facts(inputs: ReportInputs, board: Board) -> list[tuple[str, str]]:
    protocols = [r.protocol for m in inputs.measured for r in m.results.values()]
    published = sum(line.source == "published" for line in board.lines)
    models = f"{len(inputs.measured)} measured" + (f", {published} published" if published else "")
    return [
        ("Pipeline", inputs.pipeline),
        ("Measured until", inputs.measured_until_text),
        ("Models", models),
        ("Benchmarks", str(len(inputs.suites))),
        ("Protocol", inputs.protocol),
        ("Engine", ", ".join(sorted({p.engine_version for p in protocols}))),
        ("Grader", ", ".join(sorted({p.grader_version for p in protocols}))),
    ]


def _deltas(board: Board, comparisons: pa.Table) -> list[tuple[str, list[Delta | None]]]:
    """(label, one delta per column) of every compared model."""
    columns = {column.place: index for index, column in enumerate(board.columns)}
    found: dict[str, tuple[str, list[Delta | None]]] = {}
    for row in comparisons.to_pylist():
        _, cells = found.setdefault(row["model"], (row["label"], [None] * len(columns)))
        cells[columns[row["column"]]] = _delta(row)
    return list(found.values())


def _delta(row: dict[str, Any]) -> Delta:
    significant = row["p_holm"] < SIGNIFICANT
    differing = row["protocol_differences"]
    # An interval of zero width would claim more than is known.
    even = row["better"] + row["worse"] == 0
    interval = f"{_signed(row['interval_low'])} to {_signed(row['interval_high'])}"
    details = [
        ("Difference", f"{_signed(row['difference'])} points"),
        ("95 % interval", "unknown, because no question differs" if even else interval),
        ("p-value", f"{_p(row['p_value'])}; corrected {_p(row['p_holm'])}"),
        ("Questions", f"{row['questions']:,}: better on {row['better']:,}, worse on {row['worse']:,}"),
        *overlap_details(row["overlapping_questions"] is not None, row["overlapping_questions"] or 0),
        *((("Not comparable", f"protocols differ in {', '.join(differing)}"),) if differing else ()),
    ]
    return Delta(
        value=100 * row["difference"],
        text=_signed(row["difference"]),
        interval="no question differs" if even else interval,
        verdict=("better" if row["difference"] > 0 else "worse") if significant and not differing else "even",
        comparable=not differing,
        mark=("*" if differing else "") + (OVERLAP_MARK if row["overlapping_questions"] else ""),
        details=tuple(details),
    )


def _signed(value: float) -> str:
    text = percent(abs(value))
    return text if text == "0.0" else f"{'+' if value > 0 else '−'}{text}"


def _p(value: float) -> str:
    return "< 0.001" if value < 0.001 else f"{value:.3f}"


def averages(board: Board, colors: Mapping[str, int]) -> list[tuple[str, str]]:
    """(title, SVG) of each group's averages."""
    found = []
    for index, column in enumerate(board.columns):
        if not column.average:
            continue
        marks = []
        for line in board.lines:
            if cell := line.cells[index]:
                low, high = (100 * bound for bound in cell.bounds) if cell.bounds else (None, None)
                label = line.label if line.source == "measured" else f"{line.label}, published"
                told = " ".join(filter(None, [label, cell.mark, cell.cut]))
                marks.append(Mark(told, cell.value, low, high, colors.get(line.model)))
        title = f"{GROUPS[column.group]} average"
        found.append((title, interval_chart(title, marks, PAGE)))
    return found


def curves(training_log: pa.Table, colors: Mapping[str, int]) -> list[tuple[str, str]]:
    """(title, SVG) of each metric of training, with a line for each of the first MOST stages; not of metrics without
    values."""
    found = []
    for metric, title in CURVES.items():
        rows = training_log.select(["stage", "label", "step", metric]).to_pylist()
        lines = []
        for stage, logged in islice(groupby(rows, key=lambda row: row["stage"]), MOST):
            own = list(logged)
            width = steps_per_point(len(own))
            points = zip(
                last_steps([row["step"] for row in own], width),
                thinned([row[metric] for row in own], width),
                strict=True,
            )
            if known := [(step, value) for step, value in points if value is not None]:
                lines.append(ChartLine(own[0]["label"], known, colors[stage]))
        if lines:
            found.append((title, line_chart(title, "step", lines, metric in SHARES, PAGE, SIZE)))
    return found
