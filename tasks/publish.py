"""Publish a finished report, unless a benchmark overlaps the training data too much."""

import contextlib
import json
import logging
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

from benchmarks.publishers.base import REPORTS, Occasion, PublisherConfig, Receipt
from benchmarks.site.build import cached_site
from hpt_core.artifacts import Cost, Store
from hpt_core.code import code_of
from hpt_core.errors import HPTError, PublishError, explain, near
from hpt_core.files import write_text
from hpt_core.redact import redact
from tasks import evaluate, report
from tasks.execution.artifact import Artifact, Artifacts, Job, Stage, Step, Target
from tasks.execution.catalog import fill
from tasks.execution.config import PipelineConfig
from tasks.execution.context import Context, Notice
from tasks.execution.keys import PREPARED, Output, StageKey
from tasks.execution.kind import StageKind, Summary

LOG = logging.getLogger("hpt.publish")

RECEIPT = Output("receipt", "receipt.json")
"""What was published and where (benchmarks.publishers.base.Receipt)."""


class PublishStep(Step):
    """The receipt of one publisher. Publishing is idempotent."""

    kind = "publish"
    produces = (RECEIPT,)

    def __init__(
        self,
        stage: StageKey,
        config: PublisherConfig,
        trained: frozenset[str],
        max_overlap: float | None = None,
        occasion: Callable[[], Occasion] = Occasion,
    ) -> None:
        """`trained` holds the models with known training data, which must have been checked for overlap.

        `max_overlap` is the largest share of a benchmark's questions that may overlap that data. `occasion` says what
        the report is published as.
        """
        super().__init__(stage)
        self.config = config
        self.trained = trained
        self.max_overlap = max_overlap
        self.occasion = occasion

    def targets(self, artifacts: Artifacts, context: Context) -> list[Target]:
        """One target, which depends on the report and on `max_overlap`: a new limit must be checked again."""
        config = self.config.identity()
        if self.max_overlap is not None:
            config["max_overlap"] = self.max_overlap
        if not self.occasion().board:
            config["board"] = False
        inputs = {"report": (artifacts[report.KIND.key()], report.REPORT)}
        return [self.target(config, inputs, code_of(self.config))]

    def make(self, jobs: Sequence[Job], artifacts: Artifacts, context: Context) -> Cost:
        """Publish the report. Raises PublishError, which leaves the report in the store unchanged."""
        (job,) = jobs
        page = artifacts[report.KIND.key()].path(report.REPORT)
        if self.max_overlap is not None:
            require_overlap(page, self.max_overlap, self.trained)
        context.notify(Notice(str(self.stage), "progress", self.config.name, 0, 1))
        receipt = self._publish(page, context.store)
        receipt = receipt.model_copy(update={"target": redact(receipt.target)})
        write_text(job.slot.output / RECEIPT.path, receipt.model_dump_json(indent=2) + "\n")
        context.notify(Notice(str(self.stage), "progress", receipt.target, 1, 1))
        return Cost()

    def _publish(self, page: Path, store: Store) -> Receipt:
        occasion = self.occasion()
        if not occasion.board:
            return self.config.publish(page, occasion)
        with contextlib.ExitStack() as stack:
            try:
                site = stack.enter_context(cached_site(store, fill(store), REPORTS))
            except (HPTError, OSError) as error:  # what other runs have left must not keep this report back
                LOG.warning("the report is published without the site over all runs: %s", explain(error))
                return self.config.publish(page, occasion)
            return self.config.publish(page, occasion.model_copy(update={"site": site}))

    def holds(self, artifact: Artifact) -> bool:
        """Whether the publication still exists, if the publisher can tell."""
        return self.config.holds(artifact.path(RECEIPT))

    def superseded(self, artifact: Artifact, context: Context) -> str:
        """Whether this pipeline has published something else there since. Publishing what is shown changes nothing."""
        last = context.store.named(context.pipeline, str(self.stage))
        return "" if last is None or last.fingerprint == artifact.fingerprint else "another report was published since"

    def needs(self, context: Context) -> str:
        """What the publisher needs, such as access or an account."""
        return self.config.needs()


def require_overlap(page: Path, limit: float, trained: frozenset[str]) -> None:
    """Raise PublishError if more than `limit` of a benchmark's questions overlap a model's training data.

    A model in `trained` that was not checked is also an error. Other models cannot be checked; they are logged.
    """
    columns = ["kind", "source", "model", "title", "label", "questions", "overlapping_questions"]
    every = pq.read_table(page / "tables" / "scores.parquet", columns=columns).to_pylist()
    rows = [r for r in every if (r["kind"], r["source"]) == ("benchmark", "measured")]
    unknown = [r for r in rows if r["overlapping_questions"] is None]
    if missing := next((r for r in unknown if r["model"] in trained), None):
        raise PublishError(
            f"{missing['title']} was not checked for overlap with the training data of {missing['label']}, so nothing "
            "was published",
            "rebuild the report (hpt report CONFIG --force), or remove report.max_overlap",
        )
    if unknown:
        names = ", ".join(sorted({r["model"] for r in unknown}))
        LOG.info("not checked for overlap, because the training data is unknown: %s", names)
    checked = [r for r in rows if r["overlapping_questions"] is not None]

    def share(row: dict[str, Any]) -> float:
        # Divide, do not multiply the limit: 29 / 100 equals 0.29, but 0.29 * 100 is less than 29.
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
            "add the benchmark to the data's decontaminate and train again, remove it from evaluate.suites, or raise "
            "report.max_overlap",
        )


class Publication(StageKind):
    """Publishers of the leaderboard."""

    table = (tuple[PublisherConfig, ...], ())
    order = 80
    command = ("publish", "Publish the leaderboard")
    boards = (PublishStep.kind,)
    replaces_board = True
    shows_measured = True

    def check(self, pipeline: PipelineConfig) -> None:
        """The models that a publisher names must be evaluated."""
        evaluation = evaluate.KIND.of(pipeline)
        known = tuple(map(str, evaluation.models)) if evaluation else ()
        for place, config in enumerate(self.of(pipeline)):
            if evaluation and (unknown := next((name for name in config.models() if name not in known), None)):
                raise ValueError(f"{self.name}.{place}: {unknown!r} is not evaluated; {near(unknown, known)}")

    def without_effect(self, pipeline: PipelineConfig) -> Iterator[str]:
        """Publishers without a report."""
        if self.of(pipeline) and evaluate.KIND.of(pipeline) is None:
            yield f"{self.name} publishes nothing, because nothing is evaluated; add a table [evaluate]"

    def stages(self, pipeline: PipelineConfig) -> Iterable[Stage]:
        """`publish.NAME`, with the publisher's name; a second use is `publish.NAME-2`."""
        evaluation = evaluate.KIND.of(pipeline)
        if evaluation is None:
            return
        trained = frozenset(str(model) for model in evaluation.models if pipeline.lineage(model, PREPARED))
        used: Counter[str] = Counter()
        for config in self.of(pipeline):
            # Drop the module of an import path, because a stage's name must not contain a colon.
            name = config.name.rpartition(":")[2]
            used[name] += 1
            key = self.key(name if used[name] == 1 else f"{name}-{used[name]}")
            occasion = partial(
                Occasion, pipeline=pipeline.name, overrides=pipeline.overrides, board=not pipeline.is_trial
            )
            step = PublishStep(key, config, trained, report.KIND.of(pipeline).max_overlap, occasion)
            yield Stage(key, (report.KIND.key(),), (step,))

    def show(self, artifact: Artifact) -> Summary:
        """The publication's target."""
        receipt = json.loads(artifact.path(RECEIPT).read_text(encoding="utf-8"))
        return Summary(told(receipt), {"published": [receipt]})


def told(receipt: Mapping[str, Any]) -> str:
    """A receipt in one line."""
    line = f"published: {receipt['target']}"
    if receipt.get("board", True):
        return line
    line += f"/{receipt['folder']}" if receipt["folder"] else ": nothing"
    return f"{line}, because of --set; --publish makes it the board"


KIND = Publication()
