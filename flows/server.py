"""Runs in this process: on the Prefect server of PREFECT_API_URL, or on one that ends with the run."""

import contextlib
import logging
import os
from collections.abc import Iterator
from pathlib import Path

from flows.run import Run
from tasks.execution.artifact import Artifacts

QUIET = {
    "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
    "DO_NOT_TRACK": "1",
    "PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS": "180",
    "PREFECT_SERVER_LOGGING_LEVEL": "ERROR",
    "PREFECT_LOGGING_TO_API_WHEN_MISSING_FLOW": "ignore",
    "HF_HUB_DISABLE_TELEMETRY": "1",
}
"""What Prefect and the libraries read from the environment, where it does not say otherwise."""


def quiet_environment() -> None:
    """Set QUIET; before Prefect is imported."""
    for name, value in QUIET.items():
        os.environ.setdefault(name, value)


@contextlib.contextmanager
def prefect_settings() -> Iterator[None]:
    """Without a server that lasts, a heartbeat tells nobody anything and costs a second at the end of each flow."""
    from prefect.settings import PREFECT_API_URL, PREFECT_FLOWS_HEARTBEAT_FREQUENCY, temporary_settings

    if PREFECT_API_URL.value():
        yield
        return
    with temporary_settings({PREFECT_FLOWS_HEARTBEAT_FREQUENCY: None}):
        yield


def run_flow(planned: Run, verbose: bool = False) -> Artifacts:
    """Run a plan as a Prefect flow in this process. What Prefect and the product log, tracebacks among it, goes to the
    store's logs/; with `verbose`, Prefect's own lines go to the console too. Raises HPTError."""
    quiet_environment()
    with prefect_settings():
        from flows.pipeline import run_prepared

        # Only now: importing Prefect sets its loggers up anew.
        if not verbose:
            _silence_console()
        with _log_file(planned.context.store.root / "logs" / f"{planned.config.name}.log"):
            return run_prepared(planned)


@contextlib.contextmanager
def _log_file(file: Path) -> Iterator[None]:
    file.parent.mkdir(parents=True, exist_ok=True)
    handler = logging.FileHandler(file, encoding="utf-8", delay=True)
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(name)s: %(message)s"))
    loggers = [logging.getLogger(name) for name in ("hpt", "prefect")]
    for logger in loggers:
        logger.addHandler(handler)
    try:
        yield
    finally:
        for logger in loggers:
            logger.removeHandler(handler)
        handler.close()


def _silence_console() -> None:
    """Take Prefect's lines and tracebacks off the terminal; they go to the log file and to its server."""
    from prefect.logging.handlers import PrefectConsoleHandler

    for name in ("", "prefect", "prefect.flow_runs", "prefect.task_runs", "prefect.server"):
        for handler in logging.getLogger(name).handlers:
            if isinstance(handler, PrefectConsoleHandler):
                handler.setLevel(logging.CRITICAL + 1)
