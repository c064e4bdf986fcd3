"""Publication of a finished report, unless too much of a benchmark stands in training data."""

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks.publishers.base import PublisherConfig
from hpt_core.artifacts import Cost, FileEntry, outputs_hash
from hpt_core.errors import PublishError
from hpt_core.files import write_text
from tasks import report
from tasks.context import Context, Notice
from tasks.part import Made, Mades, Making, Part, Stage, Unit

LOG = logging.getLogger("hpt.publish")


class PublishPart(Part):
    """One publisher's receipt. Publishing the same report again gives the same result."""

    def __init__(self, key: str, config: PublisherConfig, max_overlap: float | None = None) -> None:
        self.key = key
        self.max_overlap = max_overlap
        self.name = str(config.model_dump()["name"])
        self.config = config

    def units(self, made: Mades, context: Context) -> list[Unit]:
        """Depends on the whole report, and on the gate: what was published without one did not pass it."""
        page = made[report.KEY]
        config = self.config.model_dump(mode="json")
        if self.max_overlap is not None:
            config["max_overlap"] = self.max_overlap
        return [Unit(self.key, "publish", config, {}, {"report": page.hash("report")}, page.provisional)]

    def make(self, jobs: Sequence[Making], made: Mades, context: Context) -> Cost:
        """Publish. Raises PublishError; the report stays whole in the store."""
        (job,) = jobs
        if self.max_overlap is not None:
            require_overlap(made[report.KEY].output, self.max_overlap)
        context.notify(Notice(self.key, "progress", self.name, 0, 1))
        receipt = self.config.publish(made[report.KEY].output)
        write_text(job.slot.output / "receipt.json", receipt.model_dump_json(indent=2) + "\n")
        context.notify(Notice(self.key, "progress", receipt.target, 1, 1))
        return Cost()

    def outputs(self, job: Making, files: tuple[FileEntry, ...]) -> dict[str, str]:
        """`receipt`: what was published and where."""
        return {"receipt": outputs_hash(files, "receipt.json")}

    def holds(self, made: Made) -> bool:
        """Whether the publisher finds what it published, where it can tell."""
        return self.config.holds(made.output / "receipt.json")

    def needs(self, context: Context) -> str:
        """What the publisher needs: access, an account."""
        return self.config.needs()


def require_overlap(page: Path, limit: float) -> None:
    """Raise PublishError where more than this share of a benchmark's questions overlaps a model's training data.

    A model that was trained here and not checked is an error too; others cannot be checked, and the log names them.
    """
    import pyarrow.parquet as pq

    columns = ["kind", "source", "model", "title", "label", "questions", "overlapping_questions"]
    every = pq.read_table(page / "tables" / "scores.parquet", columns=columns).to_pylist()
    rows = [r for r in every if (r["kind"], r["source"]) == ("benchmark", "measured")]
    unknown = [r for r in rows if r["overlapping_questions"] is None]
    if missing := next((r for r in unknown if r["model"].startswith("train.")), None):
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


def stage(name: str, config: PublisherConfig, max_overlap: float | None = None) -> Stage:
    """`publish.NAME`; `max_overlap` is the largest share of a benchmark's questions that may overlap training data."""
    key = f"publish.{name}"
    return Stage(key, (report.KEY,), (PublishPart(key, config, max_overlap),))
