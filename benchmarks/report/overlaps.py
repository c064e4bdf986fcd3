"""Which questions of a benchmark stand in the training data of a model, and the score without them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pyarrow as pa

from benchmarks.report.inputs import ModelResult, ReportInputs
from benchmarks.report.measured import Measured, Row, read_table
from benchmarks.report.schemas import CONTAMINATION
from hpt_core import schemas
from hpt_core.evaluation.metrics import Estimate, combined, estimate
from hpt_core.files import write_parquet


@dataclass(frozen=True)
class Overlaps:
    """Questions of one benchmark in one set of training data."""

    in_questions: frozenset[str]
    """Ids of the questions that share an n-gram with a training question, or are one."""
    in_demonstrations: frozenset[str]
    """Ids of those that share one with a demonstration."""


Found = Mapping[tuple[str, str], Overlaps]
"""(data, benchmark) -> what was found."""


@dataclass(frozen=True)
class Cleaned:
    """One result with and without what overlaps. All None where the training data were not checked, or are none."""

    questions: int | None = None
    in_demonstrations: int | None = None
    score: Estimate | None = field(default=None)
    """Without the overlapping questions; None also where no others are left."""

    @property
    def row(self) -> Row:
        """Columns of SCORES."""
        s = self.score
        return {
            "overlapping_questions": self.questions,
            "overlapping_in_demonstrations": self.in_demonstrations,
            "avg_at_k_clean": s.mean if s else None,
            "clean_low": s.low if s else None,
            "clean_high": s.high if s else None,
        }


def write_overlaps(inputs: ReportInputs, path: Path) -> Found:
    """Write CONTAMINATION to `path`. Raises DataError where a table cannot be read."""
    parts, found = [CONTAMINATION.empty_table()], {}
    for result in inputs.contamination:
        table = read_table(result.path, schemas.CONTAMINATION)
        front = [pa.array([text] * table.num_rows, pa.string()) for text in (result.data, result.benchmark)]
        parts.append(pa.Table.from_arrays([*front, *table.columns], schema=CONTAMINATION))
        found[result.data, result.benchmark] = Overlaps(
            _overlapping(table, "question_overlap"), _overlapping(table, "demonstration_overlap")
        )
    write_parquet(path, pa.concat_tables(parts))
    return found


def _overlapping(table: pa.Table, column: str) -> frozenset[str]:
    pairs = zip(table.column("question_id").to_pylist(), table.column(column).to_pylist(), strict=True)
    return frozenset(question_id for question_id, share in pairs if share > 0)


def clean(m: Measured, found: Found) -> Cleaned:
    """A benchmark's score without the questions that overlap what the model, or one it was made of, was trained on."""
    overlaps = _of(m.model, m.suite.name, found)
    if overlaps is None:
        return Cleaned()
    questions = overlaps.in_questions & set(m.counts)
    left = [correct / k for question_id, (correct, k) in m.counts.items() if question_id not in questions]
    demonstrations = len(overlaps.in_demonstrations & set(m.counts))
    return Cleaned(len(questions), demonstrations, estimate(left) if left else None)


def clean_average(members: Sequence[Cleaned]) -> Cleaned:
    """The average of a group; None where a benchmark was not checked or nothing of it is left."""
    questions = [c.questions for c in members if c.questions is not None]
    demonstrations = [c.in_demonstrations for c in members if c.in_demonstrations is not None]
    scores = [c.score for c in members if c.score is not None]
    if len(questions) < len(members):
        return Cleaned()
    return Cleaned(sum(questions), sum(demonstrations), combined(scores) if len(scores) == len(members) else None)


def _of(model: ModelResult, benchmark: str, found: Found) -> Overlaps | None:
    """The overlaps with all training data of a model; None where there are none or one was not checked."""
    parts = [found.get((data, benchmark)) for data in model.trained_on]
    known = [part for part in parts if part is not None]
    if not parts or len(known) < len(parts):
        return None
    return Overlaps(
        frozenset().union(*(part.in_questions for part in known)),
        frozenset().union(*(part.in_demonstrations for part in known)),
    )
