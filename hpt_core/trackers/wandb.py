"""Weights & Biases: a run of a project, on its server or, offline, in the run's folder for `wandb sync`."""

import importlib
import os
import uuid
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

from hpt_core.errors import ConfigError
from hpt_core.files import write_text
from hpt_core.trackers.base import Tracker, TrackerConfig, require


class WeightsAndBiases(TrackerConfig):
    """A run on Weights & Biases. The token comes from WANDB_API_KEY or from `wandb login`."""

    project: str = "hpt-pipelines"
    """Project of the run."""
    entity: str | None = None
    """User or team. None uses the account's default."""
    tags: tuple[str, ...] = ()
    """Labels of the run."""
    mode: Literal["online", "offline"] = "online"
    """ "offline" writes only to the run's folder."""

    def check(self) -> None:
        """Require the package wandb and, for online mode, a token."""
        require("wandb", "wandb", "wandb")
        if self.mode == "online" and not (os.environ.get("WANDB_API_KEY") or _logged_in()):
            raise ConfigError(
                "trackers: wandb has no token",
                'set WANDB_API_KEY, run `wandb login`, or choose mode = "offline"',
            )

    def open(self, folder: Path, run_name: str, config: Mapping[str, Any], steps_done: int) -> Tracker:
        """The run recorded in this folder, or a new one. The server ignores steps that it already has."""
        wandb: Any = importlib.import_module("wandb")
        begun = folder / "wandb-run.txt"
        if steps_done and begun.exists():
            identity = begun.read_text(encoding="utf-8").strip()
        else:
            identity = uuid.uuid4().hex
            write_text(begun, identity + "\n")
        run = wandb.init(
            project=self.project,
            entity=self.entity,
            tags=list(self.tags),
            mode=self.mode,
            id=identity,
            resume="allow",
            name=run_name or None,
            config=dict(config),
            dir=str(folder),
            settings=wandb.Settings(console="off", silent=True),
        )
        return WandbRun(run)


class WandbRun:
    """An open run."""

    def __init__(self, run: Any) -> None:
        self._run = run

    def log(self, step: int, row: dict[str, float]) -> None:
        """Send one row."""
        self._run.log(row, step=step)

    def close(self) -> None:
        """Send all pending rows and finish the run."""
        self._run.finish()


def _logged_in() -> bool:
    netrc = Path(os.environ.get("NETRC") or "~/.netrc").expanduser()
    try:
        return "wandb" in netrc.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return False
