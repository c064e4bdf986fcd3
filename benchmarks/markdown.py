"""Markdown of reports and model cards."""

import re
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from hpt_core.evaluation.metrics import CUT


class ScoreRow(NamedTuple):
    """A score in a card. Fractions of 1."""

    title: str
    value: float | None
    interval: tuple[float | None, float | None]
    k: int | None
    """Samples per question; None for an average."""
    questions: int
    notes: Sequence[str]
    """What a reader must know about it."""


def escape(text: str) -> str:
    """Text on one line, escaped so that Markdown and its HTML show it literally."""
    return re.sub(r"([\\`*_\[\]<>|~&$#])", r"\\\1", " ".join(text.split()))


def score_table(rows: Sequence[ScoreRow]) -> Iterator[str]:
    """The lines of a table of scores."""
    yield "| benchmark | score, % | 95 % interval | measure | questions | notes |"
    yield "|---|---|---|---|---|---|"
    for row in rows:
        measure = "mean" if row.k is None else "pass@1" if row.k == 1 else f"avg@{row.k}"
        low, high = row.interval
        interval = "" if low is None or high is None else f"{100 * low:.1f}\u2013{100 * high:.1f}"
        value = "" if row.value is None else f"{100 * row.value:.1f}"
        cells = [row.title, value, interval, measure, str(row.questions), "; ".join(row.notes)]
        yield f"| {' | '.join(map(escape, cells))} |"


def truncated_note(share: float | None, is_average: bool = False) -> list[str]:
    """The note on the share of responses that were cut, of an average on the worst of its benchmarks; none if few
    were."""
    most = "on one benchmark, " if is_average else ""
    return [f"{most}{100 * share:.0f} % of the responses were cut"] if share and share >= CUT else []


def overlap_note(questions: int | None) -> list[str]:
    """The note on questions that overlap the training data; none without any."""
    return [f"{questions} questions overlap the training data"] if questions else []
