"""Publication of a finished report."""

from collections.abc import Sequence
from typing import Any

from hpt_core.artifacts import Cost, FileEntry, outputs_hash
from hpt_core.base import Frozen
from hpt_core.files import write_json
from tasks import report
from tasks.context import Context, Notice
from tasks.part import Made, Mades, Making, Part, Stage, Unit


class PublishPart(Part):
    """One publisher's receipt. Publishing the same report again gives the same result."""

    def __init__(self, key: str, config: Frozen) -> None:
        self.key = key
        self.config: Any = config

    def units(self, made: Mades, context: Context) -> list[Unit]:
        """Depends on the whole report."""
        page = made[report.KEY]
        config = self.config.model_dump(mode="json")
        return [Unit(self.key, "publish", config, {}, {"report": page.hash("report")}, page.provisional)]

    def make(self, jobs: Sequence[Making], made: Mades, context: Context) -> Cost:
        """Publish. Raises PublishError; the report stays whole in the store."""
        (job,) = jobs
        context.notify(Notice(self.key, "progress", self.config.name, 0, 1))
        receipt = self.config.publish(made[report.KEY].output)
        write_json(job.slot.output / "receipt.json", receipt)
        context.notify(Notice(self.key, "progress", str(receipt.get("location", "")), 1, 1))
        return Cost()

    def outputs(self, job: Making, files: tuple[FileEntry, ...]) -> dict[str, str]:
        """`receipt`: what was published and where."""
        return {"receipt": outputs_hash(files, "receipt.json")}

    def holds(self, made: Made) -> bool:
        """Whether the publisher finds what it published, where it can tell."""
        holds = getattr(self.config, "holds", None)
        return True if holds is None else bool(holds(made.output / "receipt.json"))


def stage(name: str, config: Frozen) -> Stage:
    """`publish.NAME`."""
    key = f"publish.{name}"
    return Stage(key, (report.KEY,), (PublishPart(key, config),))
