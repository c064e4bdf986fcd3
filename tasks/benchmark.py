"""Benchmark questions: all of them for decontamination, and the ones that are asked."""

from collections.abc import Sequence
from typing import Any

from benchmarks.suite import Suite, get_suite, questions_table
from hpt_core.artifacts import Cost, FileEntry, outputs_hash
from hpt_core.files import write_parquet
from tasks.context import Context, Notice
from tasks.part import Mades, Making, Part, Stage, Unit


class BenchmarkPart(Part):
    """questions.parquet, and asked.parquet, which a limit makes shorter.

    The two have hashes of their own: a new limit changes what is asked and not what data preparation depends on.
    """

    def __init__(self, key: str, suite: Suite, limit: int | None) -> None:
        self.key = key
        self.suite = suite
        self.limit = limit

    def units(self, made: Mades, context: Context) -> list[Unit]:
        """The source's identity. Raises DataError where a local file is missing."""
        limit = self.limit if self.limit is not None and self.limit < self.suite.rows else None
        config = {"source": self.suite.source.identity(context.data_dir), "rows": self.suite.rows, "limit": limit}
        return [Unit(self.key, "benchmark", config, {}, {})]

    def make(self, jobs: Sequence[Making], made: Mades, context: Context) -> Cost:
        """Read the questions, here: it takes no engine and little memory. Raises DataError."""
        (job,) = jobs
        context.notify(Notice(self.key, "progress", f"reading {self.suite.title}", 0, self.suite.rows, "questions"))
        for name, limit in (("questions", None), ("asked", self.limit)):
            table = questions_table(self.suite.load(context.data_dir, limit))
            write_parquet(job.slot.output / f"{name}.parquet", table)
        context.notify(Notice(self.key, "progress", "", self.suite.rows, self.suite.rows, "questions"))
        return Cost()

    def outputs(self, job: Making, files: tuple[FileEntry, ...]) -> dict[str, str]:
        """`questions` are all, `asked` those that are put to models."""
        return {name: outputs_hash(files, f"{name}.parquet") for name in ("questions", "asked")}

    def facts(self, job: Making) -> dict[str, Any]:
        """Rows of both."""
        return {"rows": self.suite.rows, "asked": min(self.limit or self.suite.rows, self.suite.rows)}

    def needs(self, context: Context) -> str:
        """A download, or nothing."""
        return self.suite.source.needs(context.data_dir)


def stage(name: str, limit: int | None) -> Stage:
    """`benchmark.NAME`. An unknown name raises ConfigError."""
    key = f"benchmark.{name}"
    return Stage(key, (), (BenchmarkPart(key, get_suite(name), limit),))
