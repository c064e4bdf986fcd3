"""Benchmark questions: all of them for decontamination, and those that models are evaluated on."""

from collections.abc import Iterable, Sequence
from typing import Any

from benchmarks.suite import Suite, questions_table
from hpt_core.artifacts import Cost
from hpt_core.code import code_of
from hpt_core.files import write_parquet
from tasks.execution.artifact import Artifacts, Job, Stage, Step, Target
from tasks.execution.config import PipelineConfig
from tasks.execution.context import Context, Notice
from tasks.execution.keys import Output, StageKey
from tasks.execution.kind import StageKind

QUESTIONS = Output("questions", "questions.parquet")
"""All questions (hpt_core.schemas.QUESTIONS)."""
ASKED = Output("asked", "asked.parquet")
"""The questions that models are asked. `limit` affects only these, so it does not change data preparation."""


class BenchmarkStep(Step):
    """The questions of one benchmark."""

    kind = "benchmark"
    version = "3"  # 16- and 32-bit floats of Parquet files keep their digits, and their NaN is refused
    produces = (QUESTIONS, ASKED)

    def __init__(self, stage: StageKey, suite: Suite, limit: int | None) -> None:
        super().__init__(stage)
        self.suite = suite
        self.limit = limit

    def targets(self, artifacts: Artifacts, context: Context) -> list[Target]:
        """One target, which depends on the source's content. Raises DataError if a local file is missing."""
        limit = self.limit if self.limit is not None and self.limit < self.suite.rows else None
        config = {"source": self.suite.source.content(context.data_dir), "rows": self.suite.rows, "limit": limit}
        return [self.target(config, {}, code_of(self.suite))]

    def make(self, jobs: Sequence[Job], artifacts: Artifacts, context: Context) -> Cost:
        """Read the questions in this process, which takes little memory. Raises DataError."""
        (job,) = jobs
        rows = self.suite.rows
        context.notify(Notice(str(self.stage), "progress", f"reading {self.suite.title}", 0, rows, "questions"))
        for output, limit in ((QUESTIONS, None), (ASKED, self.limit)):
            write_parquet(job.slot.output / output.path, questions_table(self.suite.load(context.data_dir, limit)))
        context.notify(Notice(str(self.stage), "progress", "", rows, rows, "questions"))
        return Cost()

    def facts(self, job: Job) -> dict[str, Any]:
        """Number of rows in both files."""
        return {"rows": self.suite.rows, "asked": min(self.limit or self.suite.rows, self.suite.rows)}

    def needs(self, context: Context) -> str:
        """A download, or nothing."""
        return self.suite.source.needs(context.data_dir)


class Benchmarks(StageKind):
    """Benchmark questions."""

    order = 20
    is_goal = False

    def stages(self, pipeline: PipelineConfig) -> Iterable[Stage]:
        """`benchmark.NAME` for each benchmark that is evaluated or decontaminated against."""
        from tasks import data, evaluate  # these modules import this one

        evaluation = evaluate.KIND.of(pipeline)
        suites = list(evaluation.suites) if evaluation else []
        limited = {suite.name for suite in suites}
        suites += [suite for config in data.KIND.of(pipeline).values() for suite in config.decontaminate]
        for suite in {suite.name: suite for suite in suites}.values():
            limit = evaluation.limit if suite.name in limited else None
            yield Stage(self.key(suite.name), (), (BenchmarkStep(self.key(suite.name), suite, limit),))


KIND = Benchmarks()
