"""What Prefect shows of a run, and that no stage waits for it."""

import logging
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from flows import reporter
from flows.pipeline import score_rows
from flows.reporter import Reporter
from flows.run import Run, plan_run
from tasks.execution.config import PipelineConfig
from tasks.execution.context import Notice

STAGE = "model.base"


@pytest.fixture
def run(tmp_path: Path) -> Run:
    source = {"name": "scratch", "layers": 1, "hidden_size": 32, "heads": 1, "max_positions": 64}
    table = {"name": "demo", "store": str(tmp_path / "runs"), "trackers": [], "model": {"base": {"source": source}}}
    return plan_run(PipelineConfig.model_validate(table))


@pytest.fixture
def artifacts(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[dict[str, Any]]]:
    """Every progress artifact that is created, on a server that does not answer until the test ends."""
    made: list[dict[str, Any]] = []
    answer = threading.Event()

    def create(**fields: Any) -> None:
        made.append(fields)
        answer.wait(60)

    monkeypatch.setattr(reporter, "create_progress_artifact", create)
    monkeypatch.setattr(reporter, "get_run_logger", lambda: logging.getLogger("flow_run"))
    monkeypatch.setattr(reporter, "ARTIFACTS_EVERY_S", 0.01)
    monkeypatch.setattr(reporter, "LEAVE_AFTER_S", 0.2)
    yield made
    answer.set()
    for thread in [thread for thread in threading.enumerate() if thread.name == "progress"]:
        thread.join(10)


def test_a_server_that_does_not_answer_slows_no_stage(
    run: Run, artifacts: list[dict[str, Any]], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    began = time.monotonic()
    with Reporter(run).observing():
        for done in range(1, 200):
            run.context.notify(Notice(STAGE, "progress", "reward 0.3", done, 200, "steps"))
            time.sleep(0.001)
        run.context.notify(Notice(STAGE, "made"))
    assert time.monotonic() - began < 2
    assert len(artifacts) == 1 and artifacts[0]["key"] == "progress-model-base"
    # The log has the first progress, no other within a minute, and the end.
    lines = [record.getMessage() for record in caplog.records]
    assert lines[0] == "model.base: 1/200 steps, reward 0.3"
    assert [line.split(" in ")[0] for line in lines[1:]] == ["model.base: done"]


def test_progress_tells_the_time_that_is_left(run: Run, artifacts: list[dict[str, Any]]) -> None:
    told = Reporter(run)
    with told.observing():
        run.context.notify(Notice(STAGE, "progress", "", 1, 100, "steps", left=90.0))
        time.sleep(0.1)
    assert artifacts[0]["description"].startswith("model.base: 1/100 steps, 1:30 min left, pipeline 1:30 min left")
    assert artifacts[0]["progress"] == 1.0


def test_warnings_of_every_module_are_in_the_runs_log(
    run: Run, artifacts: list[dict[str, Any]], caplog: pytest.LogCaptureFixture
) -> None:
    with Reporter(run).observing():
        logging.getLogger("hpt.lease").warning("taking over the lease of %s", "process 7")
        logging.getLogger("hpt.lease").info("not this")
    told = [r for r in caplog.records if r.name == "flow_run"]
    assert [(r.levelno, r.getMessage()) for r in told] == [(logging.WARNING, "taking over the lease of process 7")]
    logging.getLogger("hpt.lease").warning("after the run")
    assert len([r for r in caplog.records if r.name == "flow_run"]) == 1


def test_prefect_shows_scores_and_no_hashes(finished: Any) -> None:
    (file,) = finished.store.glob("report/*/output/tables/scores.parquet")
    rows = score_rows(file)
    assert {"label", "title", "score", "k"} <= set(rows[0])
    assert all(0 <= row["score"] <= 100 for row in rows)
    assert not [value for row in rows for value in row.values() if isinstance(value, str) and len(value) > 40]
