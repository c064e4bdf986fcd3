"""`python -m hpt_core.evaluation.grade SPEC.json`: grade the samples of every unit.

Verdicts are stored apart from samples, so a new grader version repeats only this stage. A unit's verdicts are one
Parquet file, written whole or not at all.
"""

import logging
from itertools import groupby
from pathlib import Path

import pyarrow as pa
from pydantic import Field

from hpt_core.base import Frozen
from hpt_core.errors import DataError
from hpt_core.evaluation.metrics import require_k
from hpt_core.evaluation.shards import read_questions, read_samples
from hpt_core.files import write_parquet
from hpt_core.responses import collapsed_samples
from hpt_core.schemas import VERDICTS
from hpt_core.verifiers.base import Outcome, Verdict, Verifier, shortened
from hpt_core.verifiers.pool import Item, VerifierPool
from hpt_core.worker import main, progress

logger = logging.getLogger("hpt.evaluation.grade")

BATCH = 2048
"""Samples passed to the pool at once: bounds memory and sets the interval of progress reports."""
NAMED = 20
"""Maximum number of questions named in a log line."""


class GradeUnit(Frozen):
    """The samples of one model on one benchmark."""

    benchmark: str
    questions: Path
    samples: Path
    """Folder of sample shards."""
    k: int = Field(ge=1)
    """Samples that every question must have, as in the SampleUnit."""
    grader: Verifier | None = None
    """Grades instead of the questions' own verifiers."""
    output: Path
    """verdicts.parquet to write."""


class GradeSpec(Frozen):
    """Spec of `python -m hpt_core.evaluation.grade`."""

    workers: int = 2
    timeout_s: float = 5.0
    """Time limit of one comparison; its process is killed after it."""
    units: tuple[GradeUnit, ...]


def run(spec: GradeSpec) -> None:
    """Write verdicts.parquet of every unit. Raises DataError before grading starts, and VerifierError."""
    units = [(unit, *_read(unit)) for unit in spec.units]
    total = sum(samples.num_rows for _, _, samples in units)
    report = progress("graded samples")
    report(0, total, "")
    done = 0
    with VerifierPool(spec.workers, spec.timeout_s) as pool:
        for unit, questions, samples in units:
            verdicts: list[Verdict] = []
            asked = items(questions, samples)
            if unit.grader is not None:
                asked = [item._replace(verifier=unit.grader) for item in asked]
            for start in range(0, len(asked), BATCH):
                verdicts += pool.verify(asked[start : start + BATCH])
                report(done + len(verdicts), total, unit.benchmark)
            done += len(verdicts)
            write_parquet(unit.output, _table(samples, verdicts))
            _log(unit, samples, asked, verdicts)


def _read(unit: GradeUnit) -> tuple[pa.Table, pa.Table]:
    """Questions and samples of a unit. Raises DataError unless exactly its questions have exactly k samples each."""
    questions, samples = read_questions(unit.questions), read_samples(unit.samples)
    ids = samples.column("question_id").to_pylist()
    indices = samples.column("sample_index").to_pylist()
    grouped = {q: [i for _, i in rows] for q, rows in groupby(zip(ids, indices, strict=True), key=lambda row: row[0])}
    for question_id in questions.column("question_id").to_pylist():
        if question_id not in grouped:
            raise DataError(
                f"benchmark {unit.benchmark}: question {question_id} has no samples where {unit.k} are expected",
                "sample the benchmark again",
            )
    foreign = set(grouped) - set(questions.column("question_id").to_pylist())
    if foreign:
        raise DataError(
            f"benchmark {unit.benchmark}: {len(foreign)} sampled questions are not in {unit.questions}, such as "
            f"{min(foreign)}",
            "sample the benchmark again",
        )
    require_k(grouped, unit.k)
    if len(ids) != unit.k * questions.num_rows:
        raise DataError(
            f"benchmark {unit.benchmark}: samples of a question are not consecutive", "sample the benchmark again"
        )
    return questions, samples


def items(questions: pa.Table, samples: pa.Table) -> list[Item]:
    """The pool's items for every sample, in order."""
    asked = {row["question_id"]: row for row in questions.to_pylist()}
    pairs = zip(samples.column("question_id").to_pylist(), samples.column("response").to_pylist(), strict=True)
    return [Item(q["kind"], q["gold"], response, q["question"]) for q, response in ((asked[i], r) for i, r in pairs)]


def _table(samples: pa.Table, verdicts: list[Verdict]) -> pa.Table:
    return pa.table(
        {
            "benchmark": samples.column("benchmark"),
            "question_id": samples.column("question_id"),
            "sample_index": samples.column("sample_index"),
            "outcome": pa.array([str(v.outcome) for v in verdicts], pa.string()),
            "extracted": pa.array([v.extracted for v in verdicts], pa.string()),
        },
        schema=VERDICTS,
    )


def _log(unit: GradeUnit, samples: pa.Table, asked: list[Item], verdicts: list[Verdict]) -> None:
    """Log the counts of outcomes, and warn of responses that are all alike and gold answers that cannot be read.

    A further grader has the same samples, so it does not warn of them again.
    """
    benchmark = unit.benchmark if unit.grader is None else f"{unit.benchmark} by {unit.grader.name}"
    counts = {outcome: sum(v.outcome is outcome for v in verdicts) for outcome in Outcome}
    logger.info("%s: %s", benchmark, ", ".join(f"{n} {outcome}" for outcome, n in counts.items()))
    for alike in collapsed_samples(samples) if unit.grader is None else ():
        logger.warning(
            "%s: all %d responses are %s, so the score says little; look at one with `hpt samples`",
            benchmark, samples.num_rows, alike,
        )  # fmt: skip
    rows = zip(samples.column("question_id").to_pylist(), asked, verdicts, strict=True)
    faulty = {question_id: (item, v.reason) for question_id, item, v in rows if v.outcome is Outcome.GOLD_ERROR}
    if faulty:
        told = [f"{name} ({shortened(item.gold, 40)!r}: {why or 'unreadable'})" for name, (item, why) in faulty.items()]
        shown = ", ".join(told[:NAMED]) + (" ..." if len(told) > NAMED else "")
        logger.warning("%s: the gold answers of %d questions cannot be read: %s", benchmark, len(faulty), shown)


if __name__ == "__main__":
    main(GradeSpec, run)
