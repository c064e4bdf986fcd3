"""Send an e-mail through an SMTP server."""

from typing import Literal

from pydantic import Field

from hpt_core.base import SecretVariable
from hpt_core.errors import NotifyError
from tasks.notifiers.base import NotifierConfig, variable


class Email(NotifierConfig):
    """`[[notify]] name = "email"`."""

    to: tuple[str, ...] = Field(min_length=1)
    """Addresses of the readers."""
    sender: str = Field(min_length=3)
    """Address of the sender."""
    host: str = Field(min_length=1)
    """The SMTP server."""
    port: int = Field(587, ge=1, le=65535)
    """Its port."""
    security: Literal["starttls", "ssl", "insecure"] = "starttls"
    """How the connection is encrypted. "insecure" is for a server on the same machine."""
    user: str | None = None
    """Name of the account. None sends without one."""
    password_env: SecretVariable = "HPT_SMTP_PASSWORD"
    """Environment variable that holds the account's password."""

    def send(self, subject: str, body: str) -> None:
        """Send one message to all addresses. Raises NotifyError."""
        from apprise import Apprise, NotifyFormat

        account = {} if self.user is None else {"user": self.user, "password": variable(self.password_env)}
        service = Apprise.instantiate(
            {
                "schema": "mailto" if self.security == "insecure" else "mailtos",
                "host": self.host,
                "smtp_host": self.host,
                "port": self.port,
                "secure_mode": self.security,
                "from_addr": self.sender,
                "targets": list(self.to),
                "format": NotifyFormat.TEXT,
                **account,
            }
        )
        if service is None:
            raise NotifyError("an address of sender or to is not one", "correct them")
        if not service.notify(title=subject, body=body):
            raise NotifyError(
                f"the SMTP server {self.host}:{self.port} did not take the message",
                "check host, port, security and account",
            )
