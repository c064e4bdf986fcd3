"""Publication of a finished report, unless too much of a benchmark stands in training data."""

import json
import logging
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from benchmarks.publishers.base import PublisherConfig
from hpt_core.artifacts import Cost
from hpt_core.code import code_of
from hpt_core.errors import PublishError
from hpt_core.files import write_text
from tasks import evaluate, report
from tasks.execution.artifact import Artifact, Artifacts, Job, Stage, Step, Target
from tasks.execution.config import PipelineConfig
from tasks.execution.context import Context, Notice
from tasks.execution.keys import PREPARED, Output, StageKey
from tasks.execution.kind import StageKind, Summary

LOG = logging.getLogger("hpt.publish")

RECEIPT = Output("receipt", "receipt.json")
"""What was published and where (benchmarks.publishers.base.Receipt)."""


class PublishStep(Step):
    """One publisher's receipt. Publishing the same report again gives the same result."""

    kind = "publish"
    produces = (RECEIPT,)

    def __init__(
        self, stage: StageKey, config: PublisherConfig, trained: frozenset[str], max_overlap: float | None = None
    ) -> None:
        """`trained`: models whose training data are known, so that they must have been checked; `max_overlap`: largest
        share of a benchmark's questions that may overlap them."""
        super().__init__(stage)
        self.config = config
        self.trained = trained
        self.max_overlap = max_overlap

    def targets(self, artifacts: Artifacts, context: Context) -> list[Target]:
        """Depends on the whole report, and on the gate: what was published without one did not pass it."""
        config = self.config.identity()
        if self.max_overlap is not None:
            config["max_overlap"] = self.max_overlap
        inputs = {"report": (artifacts[report.KIND.key()], report.REPORT)}
        return [self.target(config, inputs, code_of(self.config))]

    def make(self, jobs: Sequence[Job], artifacts: Artifacts, context: Context) -> Cost:
        """Publish. Raises PublishError; the report stays whole in the store."""
        (job,) = jobs
        page = artifacts[report.KIND.key()].path(report.REPORT)
        if self.max_overlap is not None:
            require_overlap(page, self.max_overlap, self.trained)
        context.notify(Notice(str(self.stage), "progress", self.config.name, 0, 1))
        receipt = self.config.publish(page)
        write_text(job.slot.output / RECEIPT.path, receipt.model_dump_json(indent=2) + "\n")
        context.notify(Notice(str(self.stage), "progress", receipt.target, 1, 1))
        return Cost()

    def holds(self, artifact: Artifact) -> bool:
        """Whether the publisher finds what it published, where it can tell."""
        return self.config.holds(artifact.path(RECEIPT))

    def needs(self, context: Context) -> str:
        """What the publisher needs: access, an account."""
        return self.config.needs()


def require_overlap(page: Path, limit: float, trained: frozenset[str]) -> None:
    """Raise PublishError where more than this share of a benchmark's questions overlaps a model's training data.

    A model of `trained` that was not checked is an error too; others cannot be checked, and the log names them.
    """
    import pyarrow.parquet as pq

    columns = ["kind", "source", "model", "title", "label", "questions", "overlapping_questions"]
    every = pq.read_table(page / "tables" / "scores.parquet", columns=columns).to_pylist()
    rows = [r for r in every if (r["kind"], r["source"]) == ("benchmark", "measured")]
    unknown = [r for r in rows if r["overlapping_questions"] is None]
    if missing := next((r for r in unknown if r["model"] in trained), None):
        raise PublishError(
            f"{missing['title']} was not held against the training data of {missing['label']}, so nothing was "
            "published",
            "make the report again (hpt report CONFIG --force), or leave report.max_overlap out",
        )
    if unknown:
        names = ", ".join(sorted({r["model"] for r in unknown}))
        LOG.info("not checked, since nothing is known of their training data: %s", names)
    checked = [r for r in rows if r["overlapping_questions"] is not None]

    def share(row: dict[str, Any]) -> float:
        # One division, rounded correctly: 29 of 100 is 0.29, where 0.29 * 100 is less than 29.
        return float(row["overlapping_questions"] / row["questions"])

    over = [r for r in checked if share(r) > limit]
    if over:
        worst = max(over, key=share)
        count, questions = worst["overlapping_questions"], worst["questions"]
        others = sorted({r["title"] for r in over} - {worst["title"]})
        more = f", and too many of {', '.join(others)}" if others else ""
        raise PublishError(
            f"{count} of {questions} questions of {worst['title']} ({share(worst):.1%}) overlap the training "
            f"data of {worst['label']}{more}; report.max_overlap is {limit:g}, so nothing was published",
            "name the benchmark in the data's decontaminate and train again, leave it out of evaluate.suites, or raise "
            "report.max_overlap",
        )


class Publication(StageKind):
    """Where the leaderboard goes at the end of the pipeline."""

    table = (tuple[PublisherConfig, ...], ())
    order = 80
    command = ("publish", "Publish the leaderboard")

    def stages(self, pipeline: PipelineConfig) -> Iterable[Stage]:
        """`publish.NAME` by the publisher's name, numbered from its second use on."""
        evaluation = evaluate.KIND.of(pipeline)
        if evaluation is None:
            return
        trained = frozenset(str(model) for model in evaluation.models if pipeline.lineage(model, PREPARED))
        used: Counter[str] = Counter()
        for config in self.of(pipeline):
            # An import path has a colon in it, which tells kinds of stages from names.
            name = config.name.rpartition(":")[2]
            used[name] += 1
            key = self.key(name if used[name] == 1 else f"{name}-{used[name]}")
            step = PublishStep(key, config, trained, report.KIND.of(pipeline).max_overlap)
            yield Stage(key, (report.KIND.key(),), (step,))

    def show(self, artifact: Artifact) -> Summary:
        """Where it was published."""
        receipt = json.loads(artifact.path(RECEIPT).read_text(encoding="utf-8"))
        return Summary(f"published: {receipt['target']}", {"published": [receipt]})


KIND = Publication()
