"""Read prepared questions and hold some out for validation."""

import hashlib
import logging
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hpt_core import schemas
from hpt_core.errors import DataError, PreflightError

if TYPE_CHECKING:
    import pyarrow as pa

logger = logging.getLogger("hpt.training.questions")

COLUMNS = [
    "question_id", "question", "gold", "kind", "demonstration", "prompt_tokens", "demonstration_tokens"
]  # fmt: skip


@dataclass(frozen=True, slots=True)
class TrainingQuestion:
    """One row of prepared.parquet."""

    question_id: str
    question: str
    gold: str
    kind: str
    demonstration: str | None
    prompt_tokens: int
    demonstration_tokens: int | None


def read_questions(path: Path, need_demonstration: bool) -> list[TrainingQuestion]:
    """The questions of prepared.parquet, in file order.

    `need_demonstration` leaves out questions without a demonstration, because the gate may choose it for any question.
    Raises DataError if the file is missing, has a wrong schema or repeats a question_id, and PreflightError if no
    question is left.
    """
    rows = [TrainingQuestion(**row) for row in _table(path).to_pylist()]
    kept = [q for q in rows if q.demonstration is not None or not need_demonstration]
    if not kept:
        what = "no question with a demonstration" if rows else "no questions"
        raise PreflightError(f"{path} contains {what}", "prepare data that the algorithm can use")
    if len(kept) < len(rows):
        logger.warning("leaving out %d of %d questions, which have no demonstration", len(rows) - len(kept), len(rows))
    if len({q.question_id for q in kept}) < len(kept):
        raise DataError(f"{path} contains a question_id twice", "prepare the data again")
    return kept


def hold_out(questions: list[TrainingQuestion], count: int) -> tuple[list[TrainingQuestion], list[TrainingQuestion]]:
    """Split off `count` held-out questions. Returns (training questions, held-out questions).

    The choice depends only on a hash of the question ids. Raises PreflightError if no training question would be left.
    """
    if count >= len(questions):
        raise PreflightError(
            f"validation holds out {count} questions, but the data has only {len(questions)}",
            "lower validation.questions or add data",
        )
    order = sorted(questions, key=lambda q: hashlib.sha256(f"validation\x1f{q.question_id}".encode()).digest())
    held = {q.question_id for q in order[:count]}
    return [q for q in questions if q.question_id not in held], order[:count]


def _table(path: Path) -> "pa.Table":
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        table: Any = pq.read_table(path)
        return table.cast(schemas.PREPARED).select(COLUMNS)
    except (OSError, KeyError, ValueError, pa.ArrowException) as error:
        first = str(error).splitlines()[0]
        raise DataError(f"{path} is not a table of prepared questions: {first}", "prepare the data again") from error
