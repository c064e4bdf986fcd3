"""The contract of a publisher, which copies a finished report to where readers find it and never changes the report."""

from datetime import UTC, datetime
from pathlib import Path

from pydantic import AwareDatetime, Field

from hpt_core.base import Frozen
from hpt_core.plugins import PluginConfig

REPORTS = "../../runs/index.html"
"""The list of published reports, as seen from a published site."""


class Occasion(Frozen):
    """What a report is published as."""

    pipeline: str = ""
    """Name of the pipeline."""
    overrides: tuple[str, ...] = ()
    """What the run changed in its config, as "train.hpt.steps=6"."""
    board: bool = True
    """Whether readers of the target see this report first. If not, the report only gets a page of its own."""
    site: Path | None = None
    """Folder with the site over all runs of the store (benchmarks.site), which readers see first. Without it, they see
    the report."""
    when: AwareDatetime = Field(default_factory=lambda: datetime.now(UTC))
    """When publishing began. If several reports are published at once, readers see the one that began last."""


class Receipt(Frozen):
    """Record of a publication."""

    target: str
    """Folder, URL or repository, without credentials."""
    files: tuple[str, ...]
    """Paths of the report's files, sorted. They are below `folder`."""
    folder: str = ""
    """Folder of the report's files within the target; "" for the target itself."""
    board: bool = True
    """Whether it was published as what readers see first."""
    sha256: str
    """Hash of the files' paths and contents. Equal publications have equal hashes."""
    when: AwareDatetime
    changed: bool
    """False if the target already held exactly this publication."""


class PublisherConfig(PluginConfig, kind="publishers", package="benchmarks.publishers"):
    """Base of the publishers' configs."""

    samples: bool = False
    """Publish tables/samples.parquet too. Off by default, because responses can quote the questions. It never has the
    samples of gated benchmarks (GPQA), because the report leaves them out."""

    def needs(self) -> str:
        """What publishing needs, for `hpt plan`; "" if nothing is missing."""
        return ""

    def models(self) -> tuple[str, ...]:
        """The models, by their stages ("train.hpt"), that it publishes by name. A config must evaluate them."""
        return ()

    def publish(self, report: Path, occasion: Occasion) -> Receipt:
        """Publish the report folder `report` (leaderboard.md, site/, tables/), which is only read. Publishing it again
        changes nothing. Raises PublishError."""
        raise NotImplementedError

    def holds(self, receipt: Path) -> bool:
        """Whether the publication in the receipt file still exists, as far as a cheap check can tell."""
        return True
