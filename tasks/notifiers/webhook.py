"""Post to a webhook that takes Slack's JSON: Slack, Mattermost, Rocket.Chat, Discord (with /slack at the end)."""

from hpt_core.base import SecretVariable
from tasks.notifiers.base import NotifierConfig, variable


class Webhook(NotifierConfig):
    """`[[notify]] name = "webhook"`."""

    url_env: SecretVariable = "HPT_WEBHOOK_URL"
    """Environment variable that holds the webhook's address, which is a secret."""

    def send(self, subject: str, body: str) -> None:
        """Post {"text": ...}. Raises NotifyError without an address, and errors of httpx."""
        from prefect.blocks.notifications import CustomWebhookNotificationBlock

        text = f"*{_escaped(subject)}*\n{_escaped(body)}"
        block = CustomWebhookNotificationBlock(
            name="hpt", url="{{url}}", json_data={"text": "{{body}}"}, secrets={"url": variable(self.url_env)}
        )
        block.notify(text)


def _escaped(text: str) -> str:
    """Text that Slack shows as it is."""
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
