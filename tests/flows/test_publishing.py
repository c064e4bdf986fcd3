"""What a run publishes, and whom it tells, with real runs and a webhook on this machine."""

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from bench.stores import MadeUp, drawn
from flows.notify import Regression, notify_changes, notify_regressions
from tasks.execution.catalog import fill
from tasks.execution.config import PipelineConfig
from tasks.notifiers.webhook import Webhook
from tests.benchmarks.publishers.reader import folder, shown
from tests.tasks.notifiers.test_notifiers import Hook, served

NOTIFY = """
[[notify]]
name = "webhook"
url_env = "HPT_TEST_HOOK"
"""
TRIAL = ("--set", "evaluate.k=3")


@pytest.fixture
def hook() -> Iterator[Hook]:
    yield from served(Hook())


def told(hook: Hook) -> list[list[str]]:
    """The lines of each notification so far."""
    return [json.loads(body)["text"].splitlines() for _, _, body in hook.posted]


def test_trials_get_a_page_and_the_board_changes_on_request(again: Any, hook: Hook) -> None:
    again.config.write_text(again.config.read_text() + NOTIFY)
    again.environment = again.environment | {"HPT_TEST_HOOK": f"http://127.0.0.1:{hook.server_port}/secret-path"}
    again("run", "tiny.toml")
    board = shown(again.published)
    ((subject, counts, *scores, page, published, where),) = told(hook)
    assert subject == "*tiny: finished*"
    assert counts.startswith("5 reused, 1 made; ")
    assert scores == ["base: In distribution average 0.0, Out of distribution average 0.0"]
    assert page.startswith(f"page: {again.store}/report/")
    assert published == f"published: {again.published}"
    assert str(again.store) in where

    trial = again("run", "tiny.toml", *TRIAL)
    line = next(text for text in trial.stdout.splitlines() if text.startswith("published: "))
    assert line.startswith(f"published: {again.published}/runs/")
    assert line.endswith(", because of --set; --publish makes it the board")
    assert shown(again.published) == board
    page = again.published / line.split(",")[0].rpartition("/runs/")[2].join(["runs/", "/site/index.html"])
    assert "A run with changes to the pipeline: evaluate.k=3." in page.read_text()
    assert "with evaluate.k=3" in (again.published / "runs" / "index.html").read_text()
    assert "with evaluate.k=3" in told(hook)[1]

    asked = again("run", "tiny.toml", *TRIAL, "--publish")
    assert f"published: {again.published}\n" in asked.stdout
    assert shown(again.published) == page.read_text()

    # Back to the earlier report, which the store has and the target no longer shows.
    assert "publish.static_site: done" in again("run", "tiny.toml").stderr
    assert shown(again.published) == board
    count = len(hook.posted)
    again("run", "tiny.toml")
    assert len(hook.posted) == count, "a run with nothing to do tells nobody"

    shutil.rmtree(again.published)
    again.published.write_text("in the way")
    hook.status = 500
    failed = again("run", "tiny.toml", code=1)
    *_, (subject, error, counts, *_) = told(hook)
    assert subject == "*tiny: failed*"
    assert "exists and is not a publication of ours" in error
    assert "1 failed" in counts
    assert "not notified by webhook that tiny: failed: HTTP status 500" in failed.stderr.replace("\n", " ")
    records = "".join(file.read_text() for file in again.store.rglob("*.json"))
    assert "secret-path" not in failed.stderr + failed.stdout + records


def test_an_evaluation_publishes_too(again: Any) -> None:
    again("evaluate", "tiny.toml")
    assert folder(lambda name: (again.published / name).read_bytes())


def test_a_regression_is_told_with_numbers(hook: Hook, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HPT_TEST_HOOK", f"http://127.0.0.1:{hook.server_port}/x")
    table = {"name": "demo", "model": {"base": {"source": "scratch"}}, "notify": [Webhook(url_env="HPT_TEST_HOOK")]}
    config = PipelineConfig.model_validate(table)
    worse = Regression(model="hpt", benchmark="AIME 2024", before=0.5, after=0.41, low=-0.14, high=-0.04, p=0.0021)
    notify_regressions(config, [])
    notify_regressions(config, [worse], ["page: https://example.org/board"])
    notify_regressions(config, [worse] * 14)
    first, second = told(hook)
    assert first == [
        "*demo: 1 score got worse*",
        "hpt on AIME 2024: 50.0 to 41.0 (-14.0 to -4.0, p 0.0021)",
        "page: https://example.org/board",
    ]
    assert second[0] == "*demo: 14 scores got worse*"
    assert second[-1] == "and 2 more"


def test_a_run_that_found_a_weaker_model_tells(tmp_path: Path, hook: Hook, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HPT_TEST_HOOK", f"http://127.0.0.1:{hook.server_port}/x")
    table = {"name": "nightly", "model": {"base": {"source": "scratch"}}, "notify": [Webhook(url_env="HPT_TEST_HOOK")]}
    config = PipelineConfig.model_validate(table)
    made, draw = MadeUp(tmp_path / "runs"), np.random.default_rng(1)
    answers = [
        {"math500": drawn(draw, 200, 1, chance), "aime24": drawn(draw, 30, 4, 0.5)} for chance in (0.6, 0.6, 0.3)
    ]
    for night, found in enumerate(answers):
        made.run("nightly", {"hpt": found}, version=str(night))
        (*_, record) = made.store.history.runs()
        notify_changes(config, record, made.store, fill(made.store))
        assert len(hook.posted) == (night == 2), "an equal model tells nobody"
    ((subject, line, where),) = told(hook)
    assert subject == "*nightly: 1 score got worse*"
    before, after = (100 * found["math500"].mean() for found in answers[1:])
    assert line.startswith(f"hpt on MATH-500: {before:.1f} to {after:.1f} (")
    assert record.id in where


def test_a_block_that_is_saved_on_the_server_notifies(fresh: Any, hook: Hook) -> None:
    done = fresh.python(
        f"""
from prefect.blocks.notifications import CustomWebhookNotificationBlock

from tasks.notifiers.base import Event, tell
from tasks.notifiers.block import SavedBlock

url, text = "http://127.0.0.1:{hook.server_port}/x", {{"text": "{{{{subject}}}}: {{{{body}}}}"}}
CustomWebhookNotificationBlock(name="alerts", url=url, json_data=text).save("hpt-alerts", overwrite=True)
event = Event(what="failed", subject="demo: failed", lines=("one", "two"))
tell([SavedBlock(block="custom-webhook/hpt-alerts"), SavedBlock(block="custom-webhook/none")], event)
"""
    )
    assert told(hook) == [["demo: failed: one", "two"]]
    assert "not notified by block that demo: failed: ValueError" in done.stderr
