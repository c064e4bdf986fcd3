"""TensorBoard: event files in the run's folder. Show them with `tensorboard --logdir FOLDER`."""

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
    """Maximum seconds until a row is on disk."""

    def check(self) -> None:
        """Require the package tensorboard."""
        require("tensorboard", "tensorboard", "tensorboard")

    def open(self, folder: Path, run_name: str, config: Mapping[str, Any], steps_done: int) -> Tracker:
        """One event file per training process. Readers drop the steps that a later process repeats."""
        from torch.utils.tensorboard import SummaryWriter

        writer = SummaryWriter(str(folder / "tensorboard"), purge_step=steps_done + 1, flush_secs=self.flush_seconds)
        text = json.dumps({"run": run_name, **config}, indent=4, ensure_ascii=False)
        # TensorBoard renders Markdown, where four leading spaces mark code.
        writer.add_text("config", "    " + text.replace("\n", "\n    "), steps_done)
        return EventFiles(writer)


class EventFiles:
    """An open event file."""

    def __init__(self, writer: "SummaryWriter") -> None:
        self._writer = writer

    def log(self, step: int, row: dict[str, float]) -> None:
        """Write one scalar per column. Columns of one family (seconds_, surrogate_) are grouped."""
        for column, value in row.items():
            self._writer.add_scalar(tag(column), value, step)

    def close(self) -> None:
        """Flush and close."""
        self._writer.close()


def tag(column: str) -> str:
    """TensorBoard's name of a column: seconds/rollout for "seconds_rollout", train/NAME for one without a family."""
    family, underscore, rest = column.partition("_")
    return f"{family}/{rest}" if underscore and family in ("seconds", "surrogate") else f"train/{column}"
