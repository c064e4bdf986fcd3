"""TensorBoard: event files in the run's folder; `tensorboard --logdir FOLDER` shows them."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import Field

from hpt_core.trackers.base import Tracker, TrackerConfig, require

if TYPE_CHECKING:
    from torch.utils.tensorboard import SummaryWriter


class TensorBoard(TrackerConfig):
    """Event files for TensorBoard."""

    flush_seconds: int = Field(30, ge=1)
    """Seconds after which a row is on disk at the latest."""

    def check(self) -> None:
        """The package that writes event files."""
        require("tensorboard", "tensorboard", "tensorboard")

    def open(self, folder: Path, run_name: str, config: Mapping[str, Any], steps_done: int) -> Tracker:
        """One event file for each process that trained; readers drop the steps that a later one does again."""
        from torch.utils.tensorboard import SummaryWriter

        writer = SummaryWriter(str(folder / "tensorboard"), purge_step=steps_done + 1, flush_secs=self.flush_seconds)
        text = json.dumps({"run": run_name, **config}, indent=4, ensure_ascii=False)
        # TensorBoard shows Markdown, in which four blanks begin a line of code.
        writer.add_text("config", "    " + text.replace("\n", "\n    "), steps_done)
        return EventFiles(writer)


class EventFiles:
    """An open event file."""

    def __init__(self, writer: "SummaryWriter") -> None:
        self._writer = writer

    def log(self, step: int, row: dict[str, float]) -> None:
        """One scalar a column; columns of one family (seconds_, surrogate_) are shown together."""
        for column, value in row.items():
            self._writer.add_scalar(tag(column), value, step)

    def close(self) -> None:
        """Flush and close."""
        self._writer.close()


def tag(column: str) -> str:
    """Where TensorBoard shows a column: "seconds_rollout" at seconds/rollout, others under train/."""
    family, underscore, rest = column.partition("_")
    return f"{family}/{rest}" if underscore and family in ("seconds", "surrogate") else f"train/{column}"
