"""MLflow, on the database file that it uses without a server."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from hpt_core.trackers.mlflow import MLflow, flat
from hpt_core.training.config import TrainSpec

SpecOf = Callable[..., TrainSpec]


def test_nested_tables_become_dotted_names() -> None:
    assert flat({"a": 1, "b": {"c": {"d": 2}, "e": [3]}}) == {"a": 1, "b.c.d": 2, "b.e": [3]}


def test_an_address_with_a_password_is_refused() -> None:
    assert MLflow(uri="https://user@host:5000").uri
    with pytest.raises(ValidationError, match="MLFLOW_TRACKING_PASSWORD"):
        MLflow(uri="https://user:secret@host:5000")


@pytest.fixture
def mlflow(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    yield pytest.importorskip("mlflow", reason="needs the package mlflow")


@pytest.mark.slow
@pytest.mark.filterwarnings("default")
def test_a_resumed_run_logs_no_step_twice(mlflow: Any, spec_of: SpecOf, tmp_path: Path) -> None:
    spec = spec_of("mlflow")
    # Cut short after step 4, with its newest checkpoint at step 2.
    for done, last in ((0, 4), (2, 6)):
        mirror = spec.open_trackers(done)
        for step in range(done + 1, last + 1):
            mirror.log({"step": step, "reward": step / 8})
        mirror.close()
    client = mlflow.MlflowClient(tracking_uri=f"sqlite:///{tmp_path / 'tracking' / 'mlflow.db'}")
    (run,) = client.search_runs([client.get_experiment_by_name("hpt-pipelines").experiment_id])
    history = client.get_metric_history(run.info.run_id, "reward")
    assert sorted((m.step, m.value) for m in history) == [(step, step / 8) for step in range(1, 7)]
    assert run.info.run_name == "demo train.hpt"
    assert run.data.params["optimizer.learning_rate"] == "5e-06"
    assert [path.name for path in tmp_path.iterdir()] == ["tracking"], "nothing is left where the command ran"
