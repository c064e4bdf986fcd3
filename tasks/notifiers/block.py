"""Send through a notification block that is saved on the Prefect server: Slack, Teams, PagerDuty, Opsgenie, SMS ..."""

from typing import Any

from pydantic import Field

from tasks.notifiers.base import NotifierConfig


class SavedBlock(NotifierConfig):
    """`[[notify]] name = "block"`. The secrets are in the block."""

    block: str = Field(pattern=r"^[\w-]+/[\w-]+$")
    """Type and name of the block: "slack-webhook/alerts"."""

    def send(self, subject: str, body: str) -> None:
        """Load the block and let it notify. Raises Prefect's errors."""
        from prefect.blocks.core import Block

        block: Any = Block.load(self.block)
        block.notify(body, subject)
