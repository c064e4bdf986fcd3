"""The contract of a tracker: rows of the training log go in as they are written."""

import importlib.util
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol

from hpt_core.base import Frozen
from hpt_core.errors import ConfigError


class Tracker(Protocol):
    """A run that rows are sent to."""

    def log(self, step: int, row: dict[str, float]) -> None:
        """Take over one step's numbers, by the column's name; none of them is NaN or infinite."""
        ...

    def close(self) -> None:
        """Write out what is still held back."""
        ...


class TrackerConfig(Frozen):
    """Base of the trackers' configs; each module's `Config` adds its fields and opens the tracker.

    A service's token is never a field: configs are shown, stored and logged. It comes from the environment.
    """

    name: str
    """The variant: its file's name."""

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
