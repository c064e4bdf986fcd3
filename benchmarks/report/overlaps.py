"""Finds benchmark questions that overlap a model's training data, and computes scores without them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa

from benchmarks.report.inputs import ModelResult, ReportInputs
from benchmarks.report.measured import Measured, read_table
from benchmarks.report.schemas import CONTAMINATION, Row
from hpt_core import schemas
from hpt_core.evaluation.metrics import ScoreInterval, combined, estimate
from hpt_core.files import write_parquet


@dataclass(frozen=True)
class Overlaps:
    """Questions of one benchmark that overlap one training data set, or all training data of a model."""

    in_questions: frozenset[str]
    """Ids of questions that overlap training questions."""
    in_demonstrations: frozenset[str]
    """Ids of questions that overlap demonstrations."""

    @property
    def either(self) -> frozenset[str]:
        """Ids of questions that overlap either, since a model may have been trained on both."""
        return self.in_questions | self.in_demonstrations


@dataclass(frozen=True)
class Checked:
    """The overlaps with all training data, and the thresholds that define an overlap."""

    by_data: Mapping[tuple[str, str], Overlaps]
    """(data, benchmark) -> overlaps."""
    share: float
    """Minimum share of a question's n-grams that must appear in training questions, or in demonstrations."""
    ngram: int
    """Words of an n-gram."""

    def of(self, model: ModelResult, benchmark: str) -> Overlaps | None:
        """The overlaps with all training data of a model; None if its data are unknown or not all were checked."""
        parts = [self.by_data.get((data, benchmark)) for data in model.trained_on]
        known = [part for part in parts if part is not None]
        if not parts or len(known) < len(parts):
            return None
        return Overlaps(
            frozenset().union(*(part.in_questions for part in known)),
            frozenset().union(*(part.in_demonstrations for part in known)),
        )

    def of_pair(self, first: Measured, second: Measured) -> frozenset[str] | None:
        """Ids of questions that overlap the training data of either model; None if neither model was checked."""
        found = [self.of(m.model, m.suite.name) for m in (first, second)]
        known = [overlaps.either for overlaps in found if overlaps is not None]
        return frozenset().union(*known) if known else None


@dataclass(frozen=True)
class Cleaned:
    """The overlap counts of one result, and its score without the overlapping questions."""

    questions: int
    """Questions that overlap training questions or demonstrations."""
    in_demonstrations: int
    score: ScoreInterval | None
    """Score without the overlapping questions; None if no others remain."""


def write_overlaps(inputs: ReportInputs, path: Path) -> Checked:
    """Write CONTAMINATION to `path`. Raises DataError if a table cannot be read."""
    parts, found = [CONTAMINATION.empty_table()], {}
    for result in inputs.contamination:
        table = read_table(result.path, schemas.CONTAMINATION)
        front = [pa.array([text] * table.num_rows, pa.string()) for text in (result.data, result.benchmark)]
        parts.append(pa.Table.from_arrays([*front, *table.columns], schema=CONTAMINATION))
        found[result.data, result.benchmark] = Overlaps(
            _overlapping(table, "question_overlap", inputs.overlap_share),
            _overlapping(table, "demonstration_overlap", inputs.overlap_share),
        )
    write_parquet(path, pa.concat_tables(parts))
    return Checked(found, inputs.overlap_share, inputs.overlap_ngram)


def _overlapping(table: pa.Table, column: str, least: float) -> frozenset[str]:
    pairs = zip(table.column("question_id").to_pylist(), table.column(column).to_pylist(), strict=True)
    return frozenset(question_id for question_id, share in pairs if share >= least)


def clean(m: Measured, checked: Checked) -> Cleaned | None:
    """A benchmark's score without the questions that overlap the model's training data, including that of its starting
    model.

    None if the training data are unknown or not all were checked.
    """
    overlaps = checked.of(m.model, m.suite.name)
    if overlaps is None:
        return None
    questions = overlaps.either & set(m.counts)
    left = [correct / k for question_id, (correct, k) in m.counts.items() if question_id not in questions]
    demonstrations = len(overlaps.in_demonstrations & set(m.counts))
    return Cleaned(len(questions), demonstrations, estimate(left) if left else None)


def clean_average(members: Sequence[Cleaned | None]) -> Cleaned | None:
    """The average of a group; None if a benchmark was not checked. Its score is None if any member has no score."""
    known = [c for c in members if c is not None]
    if len(known) < len(members):
        return None
    scores = [c.score for c in known if c.score is not None]
    return Cleaned(
        sum(c.questions for c in known),
        sum(c.in_demonstrations for c in known),
        combined(scores) if len(scores) == len(members) else None,
    )


def clean_columns(cleaned: Cleaned | None, checked: Checked) -> Row:
    """The overlap columns of SCORES; empty if nothing was checked."""
    if cleaned is None:
        return {}
    s = cleaned.score
    return {
        "overlapping_questions": cleaned.questions,
        "overlapping_in_demonstrations": cleaned.in_demonstrations,
        "overlap_share": checked.share,
        "overlap_ngram": checked.ngram,
        "avg_at_k_clean": s.mean if s else None,
        "clean_low": s.low if s else None,
        "clean_high": s.high if s else None,
    }
