"""The contract of a tracker: rows of the training log go in as they are written."""

import importlib.util
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol

from hpt_core.errors import ConfigError
from hpt_core.plugins import PluginConfig


class Tracker(Protocol):
    """A run that rows are sent to."""

    def log(self, step: int, row: dict[str, float]) -> None:
        """Take over one step's numbers, by the column's name; none of them is NaN or infinite."""
        ...

    def close(self) -> None:
        """Write out what is still held back."""
        ...


class TrackerConfig(PluginConfig, kind="trackers", package="hpt_core.trackers"):
    """Base of the trackers' configs; each adds its fields and opens the tracker.

    A service's token is never a field: configs are shown, stored and logged. It comes from the environment.
    """

    def check(self) -> None:
        """Raise ConfigError where the tracker cannot work here: a package or a token is missing. Opens nothing."""
        raise NotImplementedError

    def open(self, folder: Path, run_name: str, config: Mapping[str, Any], steps_done: int) -> Tracker:
        """Begin to track, or go on after `steps_done` steps: what was sent of later steps must not appear twice.

        `folder` is this run's own, for files and for what a resumed run has to know; `config` is shown with the run.
        """
        raise NotImplementedError


def require(tracker: str, module: str, package: str) -> None:
    """Raise ConfigError, with the command that helps, where `module` is not installed."""
    if importlib.util.find_spec(module) is None:
        raise ConfigError(
            f"trackers: {tracker} needs the package {package}, which is not installed",
            f"`pip install {package}`, or take {tracker!r} out of trackers",
        )
