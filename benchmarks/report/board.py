"""The leaderboard as rows and columns, built from the scores table. The page, Markdown and the terminal share it."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import pyarrow as pa

from benchmarks.report.schemas import Row
from benchmarks.suite import Group
from hpt_core.evaluation.metrics import CUT

MARK = "†"
"""Marks measured numbers whose settings are not those of the chosen protocol."""
PUBLISHED_MARK = "‡"
"""Marks published averages that are recomputed over the benchmarks shown."""
DIFFERENT_MARK = "¶"
"""Marks measured numbers whose protocol is not that of most models in the same column."""
UNLIKE_PUBLISHED_MARK = "‖"
"""Marks measured numbers that differ from their column's published numbers in data, grader, length or sampling."""
OVERLAP_MARK = "§"
"""Marks numbers with questions that overlap the model's training data; in comparisons, either model's."""


WARNING_MARK = "⚠"
"""Marks measured numbers whose responses are all empty, cut or identical."""


@dataclass(frozen=True)
class Column:
    """A benchmark or a group's average."""

    place: int
    """`column` of its rows in the scores table."""
    title: str
    group: Group
    average: bool
    measure: str
    """ "avg@32", "pass@1", "mean"."""


class Overlapping(NamedTuple):
    """The questions of a number that overlap the model's training data, in words."""

    questions: str
    """"3 of 30 questions"."""
    clean: str
    """The score without them, in percent, or "none left"."""


class OtherScore(NamedTuple):
    """The score of a number's samples by another grader."""

    grader: str
    text: str
    """Percent."""
    interval: str
    """ "50.1–55.3", in percent."""


@dataclass(frozen=True)
class Cell:
    """One number and its details."""

    value: float
    """Percent."""
    text: str
    bounds: tuple[float, float] | None
    """The 95 % interval, as fractions of 1; None if unknown."""
    best: bool
    """Whether it is the column's highest number, or not distinguishable from that (benchmarks.report.scores)."""
    deviations: tuple[str, ...]
    """Differences of its settings from the chosen protocol."""
    differences: tuple[str, ...]
    """Differences of its protocol from that of most models in the same column."""
    warnings: tuple[str, ...]
    """What is wrong with its responses."""
    published_differences: tuple[str, ...]
    """Differences of its protocol from that of the published numbers in the same column."""
    others: tuple[OtherScore, ...]
    """Its scores by further graders."""
    cut: str
    """ "cut 27%" if so many samples were truncated; for an average, on the worst of its benchmarks. "" if few were."""
    overlap: Overlapping | None
    """None if no question is known to overlap training data."""
    mark: str
    """Its marks, in the order of this module; "" if there are none."""
    details: tuple[tuple[str, str], ...]
    """Terms and values: interval, counts, shares, protocol."""

    @property
    def interval(self) -> str:
        """ "50.1–55.3", the bounds in percent; "" if unknown."""
        return "–".join(percent(bound) for bound in self.bounds or ())


@dataclass(frozen=True)
class Line:
    """The row of one model."""

    model: str
    label: str
    algorithm: str
    source: str
    """ "measured" or "published"."""
    note: str
    cells: tuple[Cell | None, ...]
    """One per column; None if there is no number."""


@dataclass(frozen=True)
class Board:
    """The leaderboard."""

    columns: tuple[Column, ...]
    lines: tuple[Line, ...]

    def phrases(self, of: Callable[["Cell"], tuple[str, ...]]) -> list[tuple[str, str, str]]:
        """(label, column, phrase) for every phrase that `of` returns for a benchmark's cell."""
        return [
            (line.label, column.title, phrase)
            for line in self.lines
            for column, cell in zip(self.columns, line.cells, strict=True)
            if cell and not column.average
            for phrase in of(cell)
        ]

    @property
    def sources(self) -> list[str]:
        """Sources of the published lines."""
        return sorted({line.note for line in self.lines if line.source == "published"})


def make_board(scores: pa.Table) -> Board:
    """The leaderboard of a scores table (schema SCORES)."""
    rows = sorted(scores.to_pylist(), key=lambda r: (r["row"], r["column"]))
    places = sorted({r["column"] for r in rows})
    by_column = {place: [r for r in rows if r["column"] == place] for place in places}
    lines = []
    for number in sorted({r["row"] for r in rows}):
        own = {r["column"]: r for r in rows if r["row"] == number}
        first = next(iter(own.values()))
        cells = tuple(_cell(own[p]) if p in own else None for p in places)
        lines.append(
            Line(
                first["model"],
                first["label"],
                first["algorithm"] or "",
                first["source"],
                first["source_note"],
                cells,
            )
        )
    return Board(tuple(_column(by_column[p]) for p in places), tuple(lines))


def percent(value: float, digits: int = 1) -> str:
    """A fraction of 1 as percent: 0.527 -> "52.7"."""
    return f"{100 * value:.{digits}f}"


def measure(k: int | None) -> str:
    """ "pass@1" for one sample per question, else "avg@k"."""
    return "pass@1" if k == 1 else f"avg@{k}"


def _column(rows: list[Row]) -> Column:
    first = rows[0]
    if first["kind"] == "average":
        return Column(first["column"], first["title"], first["group"], True, "mean")
    ks = sorted({r["k"] for r in rows if r["source"] == "measured"})
    return Column(first["column"], first["title"], first["group"], False, measure(ks[0]) if len(ks) == 1 else "avg@k")


def _cell(row: Row) -> Cell:
    return Cell(
        value=100 * row["avg_at_k"],
        text=percent(row["avg_at_k"]),
        bounds=None if row["interval_low"] is None else (row["interval_low"], row["interval_high"]),
        best=bool(row["best"]),
        deviations=tuple(row["deviations"]),
        differences=tuple(row["differences"]),
        warnings=tuple(row["warnings"]),
        published_differences=tuple(row["published_differences"]),
        others=_others(row),
        cut=_cut(row["truncated_share"]),
        overlap=_overlap(row),
        mark=_marks(row),
        details=tuple(_details(row)),
    )


def _marks(row: Row) -> str:
    found = "" if not row["deviations"] else MARK if row["source"] == "measured" else PUBLISHED_MARK
    marked = (
        (DIFFERENT_MARK, row["differences"]),
        (UNLIKE_PUBLISHED_MARK, row["published_differences"]),
        (OVERLAP_MARK, _overlap(row)),
        (WARNING_MARK, row["warnings"]),
    )
    return found + "".join(mark for mark, holds in marked if holds)


def _cut(share: float | None) -> str:
    return "" if share is None or share < CUT else f"cut {percent(share, 0)}%"


def _others(row: Row) -> tuple[OtherScore, ...]:
    return tuple(
        OtherScore(o["grader"], percent(o["avg_at_k"]), f"{percent(o['low'])}–{percent(o['high'])}")
        for o in row["other_scores"] or ()
    )


def _overlap(row: Row) -> Overlapping | None:
    if not row["overlapping_questions"]:
        return None
    clean = row["avg_at_k_clean"]
    questions = f"{row['overlapping_questions']:,} of {row['questions']:,} questions"
    return Overlapping(questions, "none left" if clean is None else percent(clean))


def _details(row: Row) -> list[tuple[str, str]]:
    if row["source"] == "published":
        notes = [("Note", phrase) for phrase in row["deviations"]]
        return [("Source", row["source_note"]), *_protocol_details(row), *notes]
    found = [("Warning", phrase) for phrase in row["warnings"]]
    found += [("95 % interval", f"{percent(row['interval_low'])} – {percent(row['interval_high'])}")]
    if row["standard_error"] is not None:
        found.append(("Standard error", f"{percent(row['standard_error'], 2)}, clustered by question"))
    found.append(("Questions", f"{row['questions']:,}"))
    found.append(("Samples", f"{row['samples']:,}"))
    if row["overlapping_questions"] is not None:
        found += _overlap_details(row)
    if row["kind"] == "benchmark":
        found += _benchmark_details(row)
    found += [(f"By {o.grader}", f"{o.text} ({o.interval})") for o in _others(row)]
    found += _protocol_details(row)
    found += [("Differs", phrase) for phrase in (*row["deviations"], *row["differences"])]
    return found + [("Unlike published", phrase) for phrase in row["published_differences"]]


def overlap_details(checked: bool, questions: int) -> tuple[tuple[str, str], ...]:
    """Details on compared questions that overlap the training data of either model; empty if neither was checked."""
    if not checked:
        return ()
    return (("In training data", f"{questions:,} of the questions, for either model" if questions else "none"),)


def _overlap_details(row: Row) -> list[tuple[str, str]]:
    """Details on the benchmark's questions that appear in the model's training data."""
    text = f"none of {row['questions']:,} questions"
    if overlap := _overlap(row):
        ends = "" if row["clean_low"] is None else f" ({percent(row['clean_low'])} – {percent(row['clean_high'])})"
        text = f"{overlap.questions}, {overlap.clean} without them{ends}"
    quoted = f"{row['overlapping_in_demonstrations']:,} of {row['questions']:,} questions"
    least = f"{100 * row['overlap_share']:g} % of a question's runs of {row['overlap_ngram']} words"
    return [("In training data", text), ("In demonstrations", quoted), ("Counted from", least)]


def _sources(row: Row) -> str:
    parts = {"questions": row["standard_error_questions"], "samples": row["standard_error_samples"]}
    return ", ".join(f"{what} {percent(part, 2)}" for what, part in parts.items() if part is not None)


def _benchmark_details(row: Row) -> list[tuple[str, str]]:
    found = []
    if row["k"] > 1:
        shown = [p for p in row["pass_curve"] if p["k"] & (p["k"] - 1) == 0 or p["k"] == row["k"]]
        found.append(("pass@k", ", ".join(f"@{p['k']} {percent(p['value'])}" for p in shown)))
        found.append((f"maj@{row['k']}", percent(row["maj_at_k"])))
        steady = ", ".join(f"{p['share']:.0%}: {percent(p['value'])}" for p in row["g_pass_curve"])
        found.append((f"G-pass@{row['k']}", f"{steady}; mean {percent(row['mg_pass_at_k'])}"))
        found.append(("Error's sources", _sources(row)))
    shares = [
        ("truncated", "truncated"),
        ("ended in repetition", "repetition"),
        ("no answer", "no_answer"),
        ("timeout", "timeout"),
        ("crash", "crash"),
        ("gold error", "gold_error"),
    ]
    found.append(("Shares, %", ", ".join(f"{word} {percent(row[f'{name}_share'])}" for word, name in shares)))
    found.append(("Mean tokens", f"{row['mean_tokens']:,.1f}"))
    return found


def _protocol_details(row: Row) -> list[tuple[str, str]]:
    """The protocol of a number; for an average, the settings that its benchmarks share."""
    sampler = {
        "k": "k = {:,}",
        "temperature": "temperature {:g}",
        "top_p": "top_p {:g}",
        "max_tokens": "at most {:,} tokens",
        "max_total_tokens": "at most {:,} with the prompt",
        "sampling_options": "{}",
    }
    limit = "whole benchmark" if (row["kind"], row["source"]) == ("benchmark", "measured") else None
    own = "options of the model's generation_config.json" if row["from_model"] else None
    terms: dict[str, list[str | None]] = {
        "Protocol": [row["protocol"]],
        "Data": [row["data"]],
        "Sampler": [*(_told(row, name, text) for name, text in sampler.items()), own],
        "Prompt": [row["prompt"]],
        "Prompt hash": [row["prompt_hash"]],
        "Stops repetition": [row["stop_repetition"]],
        "Engine": [row["engine_version"], row["dtype"]],
        "Engine config": [row["engine"]],
        "Grader": [row["grader_version"], _told(row, "grade_timeout_s", "at most {:g} s a comparison")],
        "Seed": [_told(row, "seed", "{}"), "counted up for each sample" if row["seeds"] == "counted" else None],
        "Limit": [_told(row, "limit", "{:,} questions") or limit],
        "Benchmark hash": [row["benchmark_hash"]],
        "Model hash": [row["model_hash"]],
    }
    told = {term: ", ".join(value for value in values if value) for term, values in terms.items()}
    return [(term, text) for term, text in told.items() if text]


def _told(row: Row, name: str, text: str) -> str | None:
    return None if row[name] is None else text.format(row[name])
