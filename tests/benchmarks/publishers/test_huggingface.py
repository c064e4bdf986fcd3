"""Uploads to a small server with the Hub's endpoints; the tests check the requests that it receives."""

import json
import logging
from collections.abc import Callable
from pathlib import Path

import pytest

from benchmarks.publishers.base import Occasion
from benchmarks.publishers.huggingface import HuggingFace
from hpt_core.errors import PublishError
from tests.benchmarks.publishers.hub import TOKEN, Hub
from tests.benchmarks.publishers.reader import shown

Make = Callable[[str], Path]


@pytest.mark.parametrize("kind", ["space", "dataset"])
def test_one_commit_uploads_everything(
    make_report: Make, hub: Hub, caplog: pytest.LogCaptureFixture, kind: str
) -> None:
    caplog.set_level(logging.DEBUG)
    config = HuggingFace(repo="lab/board", kind=kind, endpoint=hub.url, token_env="HPT_TEST_TOKEN")
    receipt = config.publish(make_report("a"))
    assert receipt.changed
    assert receipt.target == f"{hub.url}/{kind}s/lab/board"
    assert hub.commits == 1
    pages = {"README.md", "index.html", "runs.json", "runs/index.html"}
    assert set(hub.files) == pages | {f"{receipt.folder}/{name}" for name in receipt.files}
    assert shown(hub.files.__getitem__) == "site/index.html a"
    readme = hub.files["README.md"].decode()
    assert readme.endswith("leaderboard.md a")
    assert ("sdk: static" in readme) == (kind == "space")
    assert (f"data_files: {receipt.folder}/tables/scores.parquet" in readme) == (kind == "dataset")
    assert "contamination" not in readme, "the report has no such table"
    created = next(lines[0] for _, path, _, lines in hub.requests if path == "/api/repos/create")
    assert created["visibility"] == "private"
    assert created.get("type") == kind
    assert {auth for _, _, auth, _ in hub.requests if auth} == {f"Bearer {TOKEN}"}
    assert TOKEN not in caplog.text
    assert TOKEN not in receipt.model_dump_json()


def test_publishing_the_same_report_again_makes_no_commit(make_report: Make, hub: Hub) -> None:
    config, report = HuggingFace(repo="lab/board", endpoint=hub.url, token_env="HPT_TEST_TOKEN"), make_report("a")
    first = config.publish(report)
    second = config.publish(report)
    assert hub.commits == 1
    assert not second.changed
    assert second.sha256 == first.sha256


def test_earlier_reports_stay_and_a_trial_does_not_replace_the_board(make_report: Make, hub: Hub) -> None:
    config = HuggingFace(repo="lab/board", endpoint=hub.url, token_env="HPT_TEST_TOKEN")
    former = config.publish(make_report("a"))
    config.publish(make_report("b"))
    config.publish(make_report("t"), Occasion(board=False, overrides=("seed=1",)))
    assert shown(hub.files.__getitem__) == "site/index.html b"
    assert hub.files["README.md"].endswith(b"leaderboard.md b")
    assert hub.files[f"{former.folder}/site/index.html"] == b"site/index.html a"
    assert b"with seed=1" in hub.files["runs/index.html"]
    assert config.publish(make_report("a")).changed, "the earlier report is published again"
    assert shown(hub.files.__getitem__) == "site/index.html a"
    assert hub.commits == 4


def test_a_commit_on_a_repository_that_has_changed_is_made_again(make_report: Make, hub: Hub) -> None:
    config = HuggingFace(repo="lab/board", endpoint=hub.url, token_env="HPT_TEST_TOKEN")
    other = make_report("other")
    hub.before_commit = lambda: config.publish(other)
    assert config.publish(make_report("mine")).changed
    found = {run["key"] for run in json.loads(hub.files["runs.json"])["runs"]}
    assert len(found) == 2
    assert all(f"runs/{key}/site/index.html" in hub.files for key in found)
    # "other" began later.
    assert shown(hub.files.__getitem__) == "site/index.html other"


def test_an_error_does_not_show_the_token(make_report: Make, hub: Hub) -> None:
    hub.forbid = True
    with pytest.raises(PublishError) as caught:
        HuggingFace(repo="lab/board", endpoint=hub.url, token_env="HPT_TEST_TOKEN").publish(make_report("a"))
    assert "403" in str(caught.value)
    assert TOKEN not in str(caught.value)
    assert caught.value.__suppress_context__
    assert hub.commits == 0


def test_a_missing_token_names_its_variable(make_report: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("HPT_NO_TOKEN", raising=False)
    with pytest.raises(PublishError, match="HPT_NO_TOKEN"):
        HuggingFace(repo="lab/board", token_env="HPT_NO_TOKEN").publish(make_report("a"))
