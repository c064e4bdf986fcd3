"""All trackers of one run. A failure before training is an error; a failure during training is a warning."""

import logging
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from hpt_core.errors import ConfigError
from hpt_core.redact import redacted
from hpt_core.trackers.base import Tracker, TrackerConfig
from hpt_core.worker import rank

logger = logging.getLogger("hpt.trackers")


class Trackers:
    """Sends every row to each tracker. A tracker that fails loses rows, but the run continues."""

    def __init__(self, trackers: Mapping[str, Tracker]) -> None:
        self._trackers = dict(trackers)
        self._failing: set[str] = set()

    def log(self, row: Mapping[str, Any]) -> None:
        """Mirror one row of the training log."""
        values = numbers(row)
        for name, tracker in self._trackers.items():
            self._attempt(name, lambda t=tracker: t.log(int(row["step"]), dict(values)))  # type: ignore[misc]

    def close(self) -> None:
        """Close every tracker. May be called again."""
        for name, tracker in self._trackers.items():
            self._attempt(name, tracker.close)
        self._trackers = {}

    def _attempt(self, name: str, act: Callable[[], None]) -> None:
        try:
            act()
        except Exception as error:
            # Log once per outage, not once per step.
            if name not in self._failing:
                logger.warning("tracker %s failed, training continues without it: %s", name, _one_line(error))
            self._failing.add(name)
        else:
            self._failing.discard(name)


def check_all(trackers: Iterable[TrackerConfig]) -> None:
    """Raise ConfigError if a tracker cannot run on this machine."""
    for tracker in trackers:
        tracker.check()


def open_all(
    trackers: Sequence[TrackerConfig], folder: Path, run_name: str, config: Mapping[str, Any], steps_done: int
) -> Trackers:
    """Open the trackers of a run that continues after `steps_done` steps; none on ranks other than 0.

    `folder` is the run's own. `config` is shown with the run. Raises ConfigError if a tracker cannot run here. Any
    other failure, such as an unreachable server, is a warning.
    """
    if rank() != 0 or not trackers:
        return Trackers({})
    check_all(trackers)
    opened: dict[str, Tracker] = {}
    for number, tracker in enumerate(trackers, 1):
        name = tracker.name if tracker.name not in opened else f"{tracker.name}-{number}"
        try:
            folder.mkdir(parents=True, exist_ok=True)
            opened[name] = tracker.open(folder, run_name, redacted(config), steps_done)
        except ConfigError:
            raise
        except Exception as error:
            logger.warning("tracker %s could not be opened, training continues without it: %s", name, _one_line(error))
    return Trackers(opened)


def numbers(row: Mapping[str, Any]) -> dict[str, float]:
    """The row's finite numbers except the step, as floats."""
    found = {}
    for name, value in row.items():
        if name != "step" and isinstance(value, int | float) and math.isfinite(value):
            found[name] = float(value)
    for signal in row.get("signals", ()):
        found[f"surrogate_{signal['signal']}"] = float(signal["surrogate"])
    return found


def _one_line(error: Exception) -> str:
    return f"{type(error).__name__}: {error}".splitlines()[0][:300]
