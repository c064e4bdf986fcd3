"""The contract of a notifier, and how a notification is sent without ever disturbing a run."""

import logging
import os
import threading
from collections.abc import Iterable
from typing import Literal

from hpt_core.base import Frozen
from hpt_core.errors import HPTError, NotifyError
from hpt_core.plugins import PluginConfig

LOG = logging.getLogger("hpt.notify")
LIMIT_S = 60.0
"""Most seconds that a notification may hold up the end of a run."""
TALKATIVE = ("apprise", "httpcore", "httpx")
"""Loggers that would write addresses, which can be secrets."""

What = Literal["finished", "failed", "regressed"]


class Event(Frozen):
    """What happened."""

    what: What
    subject: str
    """One line: "demo: failed"."""
    lines: tuple[str, ...] = ()
    """How much, and where to look; one fact each."""


class NotifierConfig(PluginConfig, kind="notifiers", package="tasks.notifiers"):
    """Base of the notifiers' configs.

    A token or a secret address is never a field, because configs are shown, stored and logged. It comes from an
    environment variable or a Prefect block.
    """

    on: tuple[What, ...] = ("finished", "failed", "regressed")
    """What to tell: that a run finished, that it failed, that a model got worse."""

    def send(self, subject: str, body: str) -> None:
        """Send one notification. Any error means that it was not sent."""
        raise NotImplementedError


def variable(name: str) -> str:
    """The value of an environment variable. Raises NotifyError if it is not set."""
    value = os.environ.get(name)
    if not value:
        raise NotifyError(f"{name} is not set", "set it where the pipeline runs")
    return value


def tell(notifiers: Iterable[NotifierConfig], event: Event) -> None:
    """Send an event to the notifiers that tell it. What cannot be sent is logged, and never raised."""
    for notifier in notifiers:
        if event.what in notifier.on and (problem := _problem(notifier, event)):
            LOG.warning("not notified by %s that %s: %s", notifier.name, event.subject, problem)


def _problem(notifier: NotifierConfig, event: Event) -> str:
    """Why the event could not be sent; "" if it was."""
    found: list[str] = []

    def send() -> None:
        try:
            notifier.send(event.subject, "\n".join(event.lines))
        except HPTError as error:
            found.append(str(error))
        except Exception as error:
            # Messages of other libraries can contain the address.
            status = getattr(getattr(error, "response", None), "status_code", None)
            found.append(f"HTTP status {status}" if status else type(error).__name__)

    levels = {name: logging.getLogger(name).level for name in TALKATIVE}
    for name in levels:
        logging.getLogger(name).setLevel(logging.CRITICAL)
    # A thread of its own: it can be left behind, and it is in no flow run and no event loop.
    thread = threading.Thread(target=send, name="notify", daemon=True)
    try:
        thread.start()
        thread.join(LIMIT_S)
    finally:
        for name, level in levels.items():
            logging.getLogger(name).setLevel(level)
    return f"no answer in {LIMIT_S:g} s" if thread.is_alive() else "".join(found)
