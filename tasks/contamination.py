"""Measure the overlap of training data with the benchmarks: `python -m hpt_core.data.contamination`."""

import logging
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

from benchmarks.catalog.records import Contribution
from hpt_core.artifacts import Cost
from hpt_core.data import contamination
from hpt_core.data.contamination import ContaminationSpec, ContaminationUnit
from tasks import benchmark, evaluate
from tasks.execution.artifact import Artifacts, Job, Stage, Step, Target
from tasks.execution.catalog import Stored
from tasks.execution.config import PipelineConfig
from tasks.execution.context import Context
from tasks.execution.keys import PREPARED, ArtifactKey, Output, StageKey
from tasks.execution.kind import StageKind

LOG = logging.getLogger("hpt.contamination")

OVERLAPS = Output("contamination", "contamination.parquet")
"""One row per question (hpt_core.schemas.CONTAMINATION)."""


class ContaminationStep(Step):
    """One table per benchmark; a single pass over the data computes all missing tables."""

    kind = "contamination"
    produces = (OVERLAPS,)

    def __init__(
        self,
        stage: StageKey,
        data: StageKey,
        ngram: int,
        benchmarks: tuple[str, ...],
        warns: tuple[float, float] | None = None,
    ) -> None:
        """`warns` is (report.overlap_share, report.max_overlap), if a later stage refuses to publish above that limit.

        It controls a warning and does not affect the artifacts.
        """
        super().__init__(stage)
        self.data = data
        self.ngram = ngram
        self.benchmarks = benchmarks
        self.warns = warns

    def targets(self, artifacts: Artifacts, context: Context) -> list[Target]:
        """One target per benchmark, which depends on the prepared rows and the benchmark's asked questions."""
        return [
            self.target(
                {"ngram": self.ngram},
                {
                    "prepared": (artifacts[self.data], PREPARED),
                    "questions": (artifacts[benchmark.KIND.key(name)], benchmark.ASKED),
                },
                {"contamination": str(contamination.VERSION)},
                ArtifactKey(self.stage, part=name),
            )
            for name in self.benchmarks
        ]

    def make(self, jobs: Sequence[Job], artifacts: Artifacts, context: Context) -> Cost:
        """Run the worker once for all missing tables, and warn if the overlap will block publication."""
        units = [
            ContaminationUnit(
                benchmark=job.target.key.part,
                questions=artifacts[benchmark.KIND.key(job.target.key.part)].path(benchmark.ASKED),
                output=job.slot.output / OVERLAPS.path,
            )
            for job in jobs
        ]
        spec = ContaminationSpec(data=artifacts[self.data].path(PREPARED), ngram=self.ngram, units=tuple(units))
        cost = context.worker(self.stage, "hpt_core.data.contamination", spec, [job.slot for job in jobs])
        for unit in units if self.warns else ():
            self._warn(unit.benchmark, unit.output)
        return cost

    def facts(self, job: Job) -> dict[str, Any]:
        """Number of questions that share an n-gram with training questions, and with demonstrations."""
        table = pq.read_table(job.slot.output / OVERLAPS.path)
        return {
            "questions": table.num_rows,
            **{
                name: sum(share > 0 for share in table.column(name).to_pylist())
                for name in ("question_overlap", "demonstration_overlap")
            },
        }

    def _warn(self, benchmark: str, path: Path) -> None:
        """Log a warning if the overlap with this data alone blocks publication of the report."""
        assert self.warns is not None
        share, most = self.warns
        rows = pq.read_table(path, columns=["question_overlap", "demonstration_overlap"]).to_pylist()
        found = sum(max(row.values()) >= share for row in rows)
        if rows and found / len(rows) > most:
            LOG.warning(
                "%d of %d questions of %s overlap %s, above report.max_overlap = %g: nothing will be published",
                *(found, len(rows), benchmark, self.data, most),
            )


class Contamination(StageKind):
    """Overlap of training data with the benchmarks."""

    order = 40
    is_cheap = True

    def catalog(self, stored: Stored) -> Contribution:
        """The overlap of each question."""
        columns = ["question_id", "question_overlap", "demonstration_overlap"]
        rows = pq.read_table(stored.file(OVERLAPS.path), columns=columns).to_pylist()
        rows.sort(key=lambda row: row["question_id"])
        row = {
            **stored.front,
            "data": stored.manifest.inputs["prepared"],
            "benchmark": stored.part,
            "benchmark_hash": stored.manifest.inputs["questions"],
            "ngram": stored.manifest.config["ngram"],
            "overlaps": [max(row["question_overlap"], row["demonstration_overlap"]) for row in rows],
            "end": stored.manifest.end,
        }
        return Contribution({"overlaps": [row]})

    def stages(self, pipeline: PipelineConfig) -> Iterable[Stage]:
        """`contamination.NAME` for the training data `data.NAME` of the evaluated models."""
        from tasks import publish, report  # they import this module

        evaluation = evaluate.KIND.of(pipeline)
        if evaluation is None:
            return
        shown = report.KIND.of(pipeline)
        gated = shown.max_overlap is not None and publish.KIND.of(pipeline)
        warns = (shown.overlap_share, shown.max_overlap) if gated else None
        suites = tuple(suite.name for suite in evaluation.suites)
        after = tuple(benchmark.KIND.key(name) for name in suites)
        for data in dict.fromkeys(d for model in evaluation.models for d in pipeline.lineage(model, PREPARED)):
            key = self.key(data.name)
            step = ContaminationStep(key, data, shown.overlap_ngram, suites, warns)
            yield Stage(key, (data, *after), (step,))


KIND = Contamination()
