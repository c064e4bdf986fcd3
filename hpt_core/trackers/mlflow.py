"""MLflow: a run of an experiment, on a tracking server or in a database file in the run's folder."""

import importlib
import json
import os
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from pydantic import field_validator

from hpt_core.files import write_text
from hpt_core.paths import UserAddress
from hpt_core.trackers.base import Tracker, TrackerConfig, require

LONGEST = 500
"""Maximum characters of a parameter's value that every MLflow server accepts."""


class MLflow(TrackerConfig):
    """A run on MLflow. Credentials come from the environment: MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD, or
    MLFLOW_TRACKING_TOKEN."""

    experiment: str = "hpt-pipelines"
    """Experiment of the run."""
    uri: UserAddress | None = None
    """Address of the tracking server. Default: MLFLOW_TRACKING_URI, else a SQLite file in the run's folder."""

    @field_validator("uri")
    @classmethod
    def _no_secret(cls, value: str | None) -> str | None:
        if value is not None and urlsplit(value).password is not None:
            raise ValueError(
                "the address holds a password, which logs would show; "
                "set MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD in the environment"
            )
        return value

    def check(self) -> None:
        """Require the package mlflow. mlflow-skinny is enough for a server."""
        require("mlflow", "mlflow", "mlflow")

    def open(self, folder: Path, run_name: str, config: Mapping[str, Any], steps_done: int) -> Tracker:
        """The run recorded in this folder, or a new one."""
        uri = self.uri or os.environ.get("MLFLOW_TRACKING_URI") or f"sqlite:///{(folder / 'mlflow.db').resolve()}"
        client = importlib.import_module("mlflow").MlflowClient(tracking_uri=uri)
        file = folder / "mlflow-run.json"
        begun = json.loads(file.read_text(encoding="utf-8")) if steps_done and file.exists() else None
        if begun:
            return MlflowRun(client, begun["run_id"], file, begun["last_step"])
        found = client.get_experiment_by_name(self.experiment)
        experiment = found.experiment_id if found else client.create_experiment(self.experiment)
        run_id = client.create_run(experiment, run_name=run_name or None).info.run_id
        for key, value in flat(config).items():
            client.log_param(run_id, key, str(value)[:LONGEST])
        return MlflowRun(client, run_id, file, 0)


class MlflowRun:
    """An open run. Metrics cannot be removed, so repeated steps are not sent again."""

    def __init__(self, client: Any, run_id: str, file: Path, last_step: int) -> None:
        self._client = client
        self._run_id = run_id
        self._file = file
        self._last_step = last_step
        self._note()

    def log(self, step: int, row: dict[str, float]) -> None:
        """Send one row in one request."""
        if step <= self._last_step:
            return
        metric: Any = importlib.import_module("mlflow.entities").Metric
        now = round(time.time() * 1000)
        self._client.log_batch(self._run_id, [metric(name, value, now, step) for name, value in row.items()])
        self._last_step = step
        self._note()

    def close(self) -> None:
        """Mark the run as finished. A run that is resumed later is marked again."""
        self._client.set_terminated(self._run_id)

    def _note(self) -> None:
        write_text(self._file, json.dumps({"run_id": self._run_id, "last_step": self._last_step}) + "\n")


def flat(config: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested tables as one table with dotted names."""
    found: dict[str, Any] = {}
    for key, value in config.items():
        if isinstance(value, Mapping):
            found |= flat(value, f"{prefix}{key}.")
        else:
            found[f"{prefix}{key}"] = value
    return found
