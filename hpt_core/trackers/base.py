"""The contract of a tracker, which receives the rows of the training log as they are written."""

import importlib.util
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol

from hpt_core.errors import ConfigError
from hpt_core.plugins import PluginConfig


class Tracker(Protocol):
    """An open run that accepts rows."""

    def log(self, step: int, row: dict[str, float]) -> None:
        """Send one step's numbers, keyed by column. All are finite."""
        ...

    def close(self) -> None:
        """Flush all pending rows and close."""
        ...


class TrackerConfig(PluginConfig, kind="trackers", package="hpt_core.trackers"):
    """Base of the trackers' configs.

    A service's token is never a field, because configs are shown, stored and logged. It comes from the environment.
    """

    def check(self) -> None:
        """Raise ConfigError if a package or a token that the tracker needs is missing. Opens nothing."""
        raise NotImplementedError

    def open(self, folder: Path, run_name: str, config: Mapping[str, Any], steps_done: int) -> Tracker:
        """Start tracking, or continue after `steps_done` steps. Rows of later steps that were already sent must not
        appear twice.

        `folder` is the run's own, for files and for what a resumed run must know. `config` is shown with the run.
        """
        raise NotImplementedError


def require(tracker: str, module: str, package: str) -> None:
    """Raise ConfigError with the install command if `module` is not installed."""
    if importlib.util.find_spec(module) is None:
        raise ConfigError(
            f"trackers: {tracker} needs the package {package}, which is not installed",
            f"`pip install {package}`, or remove {tracker!r} from trackers",
        )
