"""Publication of a finished report."""

from collections.abc import Sequence

from benchmarks.publishers.base import PublisherConfig
from hpt_core.artifacts import Cost, FileEntry, outputs_hash
from hpt_core.files import write_text
from tasks import report
from tasks.context import Context, Notice
from tasks.part import Made, Mades, Making, Part, Stage, Unit


class PublishPart(Part):
    """One publisher's receipt. Publishing the same report again gives the same result."""

    def __init__(self, key: str, config: PublisherConfig) -> None:
        self.key = key
        self.name = str(config.model_dump()["name"])
        self.config = config

    def units(self, made: Mades, context: Context) -> list[Unit]:
        """Depends on the whole report."""
        page = made[report.KEY]
        config = self.config.model_dump(mode="json")
        return [Unit(self.key, "publish", config, {}, {"report": page.hash("report")}, page.provisional)]

    def make(self, jobs: Sequence[Making], made: Mades, context: Context) -> Cost:
        """Publish. Raises PublishError; the report stays whole in the store."""
        (job,) = jobs
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


def stage(name: str, config: PublisherConfig) -> Stage:
    """`publish.NAME`."""
    key = f"publish.{name}"
    return Stage(key, (report.KEY,), (PublishPart(key, config),))
