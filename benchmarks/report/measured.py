"""The report's measurements: each model scored on each benchmark, and the columns that show the scores."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from benchmarks.report.inputs import BenchmarkResult, ModelResult, Protocol, ReportInputs, SuiteInfo
from benchmarks.report.schemas import SAMPLES
from benchmarks.significance import Counts
from benchmarks.suite import GROUPS as GROUP_TITLES
from benchmarks.suite import Group
from hpt_core import schemas
from hpt_core.errors import DataError
from hpt_core.evaluation.metrics import Score, ScoreInterval, estimate, question_counts, score
from hpt_core.evaluation.shards import read_samples
from hpt_core.files import replacing
from hpt_core.responses import collapsed_samples
from hpt_core.verifiers.base import Outcome

GROUPS: dict[Group, str] = {group: title.capitalize() for group, title in GROUP_TITLES.items()}
"""Group -> its title."""
ANY = "any of the graders"
"""Name of the score that counts a sample as correct if any grader accepts it."""


@dataclass(frozen=True)
class Measured:
    """One model on one benchmark, scored."""

    model: ModelResult
    suite: SuiteInfo
    protocol: Protocol
    score: Score
    counts: Counts
    samples: int
    alike: tuple[str, ...]
    """What all responses have in common, such as "empty"."""
    others: dict[str, ScoreInterval]
    """Each further grader with its version, then ANY -> the score by it; empty without further graders."""


def columns(inputs: ReportInputs) -> list[tuple[Group, SuiteInfo | None]]:
    """Columns of the leaderboard, left to right: each group's average (group, None), then the benchmarks by group. A
    narrow screen shows the averages."""
    members = {group: [suite for suite in inputs.suites if suite.group == group] for group in GROUPS}
    averages: list[tuple[Group, SuiteInfo | None]] = [(group, None) for group, suites in members.items() if suites]
    return averages + [(group, suite) for group, suites in members.items() for suite in suites]


def measure(inputs: ReportInputs, path: Path, progress: Callable[[int, int, str], None]) -> list[Measured]:
    """Score every result, and write the samples of benchmarks that are not gated with their verdicts to `path`.

    Raises DataError.
    """
    units = list(_units(inputs))
    measured = []
    with replacing(path) as beside, pq.ParquetWriter(beside, SAMPLES, compression="zstd") as writer:
        for done, (model, suite, result) in enumerate(units):
            progress(done, len(units), f"{model.label} on {suite.title}")
            samples, verdicts = read_samples(result.samples), read_table(result.verdicts, schemas.VERDICTS)
            k = result.protocol.k
            found, others = score(suite.name, samples, verdicts, k), _other_scores(suite.name, result, verdicts)
            counts, alike = question_counts(verdicts, k), tuple(collapsed_samples(samples))
            measured.append(Measured(model, suite, result.protocol, found, counts, samples.num_rows, alike, others))
            if suite.gated:
                continue  # responses quote questions, and a report is published
            name = pa.array([model.name] * samples.num_rows, pa.string())
            joined = [name, *samples.columns, verdicts.column("outcome"), verdicts.column("extracted")]
            writer.write_table(pa.Table.from_arrays(joined, schema=SAMPLES))
    progress(len(units), len(units), "")
    return measured


def _other_scores(benchmark: str, result: BenchmarkResult, verdicts: pa.Table) -> dict[str, ScoreInterval]:
    """The scores by the further graders, and by any of all graders. Raises DataError."""
    if not result.others:
        return {}
    keys = ["question_id", "sample_index"]
    correct: dict[str, list[bool]] = {}
    for grader, path in result.others.items():
        table = read_table(path, schemas.VERDICTS)
        if not table.select(keys).equals(verdicts.select(keys)):
            raise DataError(f"benchmark {benchmark}: the verdicts of {grader} are on other samples", "grade it again")
        correct[grader] = _correct(table)
    correct[ANY] = [any(votes) for votes in zip(_correct(verdicts), *correct.values(), strict=True)]
    k = result.protocol.k
    # question_counts has found k consecutive samples of every question.
    return {
        grader: estimate([sum(votes[at : at + k]) / k for at in range(0, len(votes), k)])
        for grader, votes in correct.items()
    }


def _correct(verdicts: pa.Table) -> list[bool]:
    return [outcome == Outcome.CORRECT for outcome in verdicts.column("outcome").to_pylist()]


def _units(inputs: ReportInputs) -> Iterator[tuple[ModelResult, SuiteInfo, BenchmarkResult]]:
    for model in inputs.measured:
        for suite in inputs.suites:
            if suite.name in model.results:
                yield model, suite, model.results[suite.name]


def read_table(path: Path, schema: pa.Schema) -> pa.Table:
    """A stage's table, which must have this schema. Raises DataError that names the file."""
    try:
        table: pa.Table = pq.read_table(path)
    except (OSError, pa.ArrowException) as error:
        raise DataError(f"cannot read {path}: {str(error).splitlines()[0]}", "rerun the stage that makes it") from error
    if table.schema.names != schema.names or table.schema.types != schema.types:
        raise DataError(f"{path} has other columns than {', '.join(schema.names)}", "rerun the stage that makes it")
    return table.cast(schema)
