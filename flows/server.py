"""Run a flow in this process, with the Prefect server at PREFECT_API_URL or a temporary one."""

import contextlib
import logging
import os
import sys
import tempfile
import urllib.request
from collections.abc import Iterator
from pathlib import Path

from flows.prefect_server import require_server, usable_home
from flows.run import Run
from hpt_core import logs, loopback, redact
from tasks.execution.artifact import Artifacts

QUIET = {
    "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
    "DO_NOT_TRACK": "1",
    "PREFECT_SERVER_LOGGING_LEVEL": "ERROR",
    "PREFECT_LOGGING_TO_API_WHEN_MISSING_FLOW": "ignore",
    "PREFECT_FLOWS_HEARTBEAT_FREQUENCY": "30",
    "HF_HUB_DISABLE_TELEMETRY": "1",
}
"""Defaults for environment variables that Prefect and other libraries read."""
FORWARDED = "forwarded_by_hpt"
"""Attribute of the records that Prefect's loggers have only because ours have them."""
LOG = logging.getLogger("hpt.server")


def prepare_environment() -> None:
    """Set the variables of QUIET and a home if the environment lacks them, keep loopback addresses from proxies, and
    secrets from logs.

    Call it before Prefect is imported. Workers inherit the variables.
    """
    redact.install()
    try:
        Path.home()
    except RuntimeError:
        # A user without an entry in the user database, as in some containers. Libraries ask for a home when imported.
        os.environ["HOME"] = tempfile.mkdtemp(prefix="hpt-home-")
        LOG.warning("the user has no home; HOME is %s for this run", os.environ["HOME"])
    for name, value in QUIET.items():
        os.environ.setdefault(name, value)
    hosts = [host.strip() for host in urllib.request.getproxies_environment().get("no", "").split(",")]
    if "*" not in hosts:
        # Libraries read either spelling.
        os.environ["NO_PROXY"] = os.environ["no_proxy"] = ",".join(
            dict.fromkeys(filter(None, [*hosts, *loopback.NAMES]))
        )


@contextlib.contextmanager
def prefect_settings() -> Iterator[None]:
    """Disable the heartbeat for a temporary server: it is useless there and costs a second at the end of each flow."""
    from prefect.settings import PREFECT_API_URL, PREFECT_FLOWS_HEARTBEAT_FREQUENCY, temporary_settings

    if PREFECT_API_URL.value():
        yield
        return
    with temporary_settings({PREFECT_FLOWS_HEARTBEAT_FREQUENCY: None}):
        yield


def run_flow(run: Run, verbose: bool = False) -> Artifacts:
    """Run a plan as a Prefect flow in this process. Raises HPTError.

    Logs and tracebacks go to the store's logs/ folder; with `verbose`, Prefect's log also goes to the console.
    """
    if warning := usable_home():
        LOG.warning("%s", warning)
    logs = run.context.store.root / "logs"
    with prefect_settings():
        from flows.pipeline import run_prepared

        # After the import, because importing Prefect configures its loggers.
        console_as_json()
        if not verbose:
            _silence_console()
        with _log_file(logs / f"{run.config.name}.log"):
            require_server(logs / "prefect.log")
            return run_prepared(run)


@contextlib.contextmanager
def _log_file(file: Path) -> Iterator[None]:
    with contextlib.suppress(OSError):  # the handler tells it
        file.parent.mkdir(parents=True, exist_ok=True)
    handler = _LogFile(file, encoding="utf-8", delay=True)
    handler.setFormatter(logs.formatter("%(asctime)s %(levelname)s %(name)s: %(message)s"))
    handler.addFilter(lambda record: not hasattr(record, FORWARDED))
    loggers = [logging.getLogger(name) for name in ("hpt", "prefect")]
    for logger in loggers:
        logger.addHandler(handler)
    try:
        yield
    finally:
        for logger in loggers:
            logger.removeHandler(handler)
        handler.close()


def console_as_json() -> None:
    """Let Prefect's log on the console be JSON, if logs are. Call it after Prefect is imported."""
    if logs.as_json():
        for handler in _console_handlers():
            handler.setFormatter(logs.JsonFormatter())


class _LogFile(logging.FileHandler):
    """A log file that may become impossible to write, as on a full disk: it warns once, and the run goes on."""

    _failed = False

    def emit(self, record: logging.LogRecord) -> None:
        """Write a record."""
        try:
            super().emit(record)
        except OSError:  # the file cannot be opened
            self.handleError(record)

    def handleError(self, record: logging.LogRecord) -> None:
        """Warn, instead of the traceback that logging prints for each record."""
        if not self._failed:
            self._failed = True
            LOG.warning("cannot write the log %s: %s", self.baseFilename, sys.exc_info()[1])

    def close(self) -> None:
        """Close the file, whose buffer may not be writable either."""
        with contextlib.suppress(OSError):
            super().close()


def _silence_console() -> None:
    """Remove Prefect's log from the terminal; it still goes to the log file and the server."""
    for handler in _console_handlers():
        handler.setLevel(logging.CRITICAL + 1)


def _console_handlers() -> Iterator[logging.Handler]:
    from prefect.logging.handlers import PrefectConsoleHandler

    for name in ("", "prefect", "prefect.flow_runs", "prefect.task_runs", "prefect.server"):
        for handler in logging.getLogger(name).handlers:
            if isinstance(handler, PrefectConsoleHandler):
                yield handler
