"""The leaderboard as Markdown."""

from collections.abc import Callable

import pyarrow as pa

from benchmarks.markdown import escape
from benchmarks.report.board import (
    DIFFERENT_MARK,
    MARK,
    OVERLAP_MARK,
    PUBLISHED_MARK,
    UNLIKE_PUBLISHED_MARK,
    WARNING_MARK,
    Board,
    Cell,
    Column,
)
from benchmarks.report.exclusive_view import Pair, against
from benchmarks.report.inputs import ReportInputs
from benchmarks.report.trained import trained
from hpt_core.texts import harmless

BEST = (
    "the highest measured number of a column and those that a paired test does not tell from it (5 %, Holm-corrected); "
    "only among numbers of one protocol, without a warning, and without questions that overlap training data"
)
"""Which numbers are highlighted."""
PAIR_OVERLAPS = "Some of the questions overlap the training data of either model."
"""Meaning of the overlap mark in a comparison of two models."""


TRAINED = ("Training", "steps", "demonstrations", "rollouts", "to demonstrations, %", "reward", "truncated, %")
"""Columns of the table of trainings."""
QUARTERS_MEAN = "Of the last three columns, each number is the mean over a quarter of the steps."


def leaderboard(inputs: ReportInputs, board: Board, exclusive: pa.Table, training_log: pa.Table) -> str:
    """leaderboard.md, from the scores and the tables EXCLUSIVE and TRAINING_LOG."""
    headers = ["Model", "Source", *(_header(c) for c in board.columns)]
    lines = [
        f"# {escape(inputs.title)}",
        "",
        f"Pipeline {escape(inputs.pipeline)}, measured until {escape(inputs.measured_until_text)}, "
        f"protocol {escape(inputs.protocol)}.",
        "Scores are in percent, with 95 % intervals in parentheses.",
        *(part for note in inputs.notes for part in ("", escape(note))),
        "",
        f"| {' | '.join(headers)} |",
        f"|{'|'.join(['---', '---', *('---:' for _ in board.columns)])}|",
        *(f"| {' | '.join([escape(line.label), line.source, *map(_cell, line.cells)])} |" for line in board.lines),
        "",
        *_footnotes(board),
        *_others(board),
        *_exclusive(inputs, board, exclusive),
        *_trained(training_log),
    ]
    return harmless("\n".join(lines) + "\n")


def _trained(training_log: pa.Table) -> list[str]:
    found = trained(training_log)
    if not found:
        return []
    return [
        "",
        "## What the trainings did",
        "",
        QUARTERS_MEAN,
        "",
        f"| {' | '.join(TRAINED)} |",
        f"|{'|'.join(['---', *(['---:'] * (len(TRAINED) - 1))])}|",
        *(
            f"| {escape(t.label)} | {t.steps} | {t.demonstrations:,} | {t.rollouts:,} | {t.gate} | {t.reward or '–'} | "
            f"{t.truncated or '–'} |"
            for t in found
        ),
    ]


def summarized(board: Board, of: Callable[[Cell], tuple[str, ...]]) -> list[str]:
    """One phrase per fact that `of` returns: "AIME 2024, AMC: k = 2 instead of 32 (base, HPT)".

    Models are left out if the fact is true of all measured ones.
    """
    labels: dict[tuple[str, str], list[str]] = {}
    for label, column, phrase in board.phrases(of):
        labels.setdefault((column, phrase), []).append(label)
    columns: dict[tuple[str, tuple[str, ...]], list[str]] = {}
    for (column, phrase), names in labels.items():
        columns.setdefault((phrase, tuple(names)), []).append(column)
    measured = sum(line.source == "measured" for line in board.lines)
    return [
        f"{', '.join(titles)}: {phrase}" + ("" if len(names) == measured else f" ({', '.join(names)})")
        for (phrase, names), titles in columns.items()
    ]


def _overlaps(board: Board) -> list[str]:
    """ "AIME 2024: 3 of 30 questions (without them SFT 20.1, HPT 33.0)"."""
    grouped: dict[tuple[str, str], list[str]] = {}
    for line in board.lines:
        for column, cell in zip(board.columns, line.cells, strict=True):
            if cell and cell.overlap and not column.average:
                clean = grouped.setdefault((column.title, cell.overlap.questions), [])
                clean.append(f"{line.label} {cell.overlap.clean}")
    return [f"{title}: {questions} (without them {', '.join(c)})" for (title, questions), c in grouped.items()]


def _header(column: Column) -> str:
    return escape(column.title if column.average else f"{column.title} {column.measure}")


def _cell(cell: Cell | None) -> str:
    if cell is None:
        return "–"
    number = f"**{cell.text}**" if cell.best else cell.text
    mark = f" {cell.mark}" if cell.mark else ""
    below = ", ".join(filter(None, [cell.interval, cell.cut]))
    return f"{number}{mark} ({below})" if below else f"{number}{mark}"


def footnotes(board: Board) -> list[str]:
    """The meaning of each mark in use."""
    cells = [cell for line in board.lines for cell in line.cells if cell]
    found = []
    if marked := summarized(board, lambda cell: cell.deviations if MARK in cell.mark else ()):
        found.append(
            f"{MARK} Not measured under the report's protocol, so not comparable with other results under it: "
            f"{'; '.join(marked)}."
        )
    if marked := summarized(board, lambda cell: cell.differences):
        found.append(f"{DIFFERENT_MARK} Not comparable within its column: {'; '.join(marked)}.")
    if marked := summarized(board, lambda cell: cell.published_differences):
        found.append(
            f"{UNLIKE_PUBLISHED_MARK} Not comparable with the published numbers of its column: {'; '.join(marked)}."
        )
    if marked := _overlaps(board):
        found.append(
            f"{OVERLAP_MARK} Some of the benchmark's questions overlap the model's training data: {'; '.join(marked)}."
        )
    if marked := summarized(board, lambda cell: cell.warnings):
        found.append(f"{WARNING_MARK} Check the model and its prompt before you use this number: {'; '.join(marked)}.")
    if any(cell.cut for cell in cells):
        found.append(
            "cut: share of responses that ended at the token limit. For an average, the largest of its benchmarks."
        )
    if any(PUBLISHED_MARK in cell.mark for cell in cells):
        found.append(f"{PUBLISHED_MARK} Recomputed from the printed scores, over the benchmarks shown.")
    return found + [f"Published rows were measured by others: {source}." for source in board.sources]


def _footnotes(board: Board) -> list[str]:
    bold = any(cell and cell.best for line in board.lines for cell in line.cells)
    notes = [f"Bold: {BEST}."] if bold else []
    notes += map(escape, footnotes(board))
    return [part for note in notes for part in (note, "")][:-1]


def _others(board: Board) -> list[str]:
    """The scores by graders other than the benchmark's own, if there are any."""
    rows = []
    for line in board.lines:
        for grader in dict.fromkeys(other.grader for cell in line.cells if cell for other in cell.others):
            found = [
                {other.grader: other for other in cell.others}.get(grader) if cell else None for cell in line.cells
            ]
            rows.append(
                [escape(line.label), escape(grader), *(f"{o.text} ({o.interval})" if o else "–" for o in found)]
            )
    if not rows:
        return []
    return [
        "",
        "## The same samples by other graders",
        "",
        "The score above is that of the benchmark's own verifier.",
        "",
        f"| {' | '.join(['Model', 'Grader', *(_header(c) for c in board.columns)])} |",
        f"|{'|'.join(['---', '---', *('---:' for _ in board.columns)])}|",
        *(f"| {' | '.join(row)} |" for row in rows),
    ]


def _exclusive(inputs: ReportInputs, board: Board, exclusive: pa.Table) -> list[str]:
    """For each model and the baseline: the number of questions that only one of them solves."""
    pairs = against(exclusive, inputs.baseline_name)
    if not pairs:
        return []
    titles = [column for column in board.columns if not column.average]
    baseline = next(m.label for m in inputs.measured if m.name == inputs.baseline_name)
    labels = {m.name: m.label for m in inputs.measured}
    rows = [
        [escape(labels[model]), *(_pair(found.get(column.place)) for column in titles)]
        for model, found in pairs.items()
    ]
    text = (
        f"+X / −Y: the model solves X questions that {baseline} does not, and {baseline} solves Y that the model does "
        "not. A question is solved if more than half of its samples are correct."
    )
    every = [pair for found in pairs.values() for pair in found.values()]
    mixed, overlap = any(not pair.comparable for pair in every), any(pair.overlaps for pair in every)
    return [
        "",
        f"## Questions solved by a model or by {escape(baseline)}, not by both",
        "",
        escape(text),
        "",
        f"| {' | '.join(['Model', *(escape(c.title) for c in titles)])} |",
        f"|{'|'.join(['---', *('---:' for _ in titles)])}|",
        *(f"| {' | '.join(row)} |" for row in rows),
        *(["", escape("* The two models were not measured under the same protocol.")] if mixed else []),
        *(["", escape(f"{OVERLAP_MARK} {PAIR_OVERLAPS}")] if overlap else []),
    ]


def _pair(pair: Pair | None) -> str:
    if pair is None:
        return "–"
    mark = ("" if pair.comparable else escape("*")) + (OVERLAP_MARK if pair.overlaps else "")
    return f"+{pair.gained} / −{pair.lost} {mark}".rstrip()
