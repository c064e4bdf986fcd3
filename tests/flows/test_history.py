"""What has run on a store, why something is not done, what differs, and what may be removed."""

import json
import re
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

GRADED = ("--set", "evaluate.grade_timeout_s=6")
Here = Callable[..., str]


@pytest.fixture
def here(again: Any) -> Here:
    """A command that only looks: what it prints, and with another code its error, too."""

    def run(*arguments: str, code: int = 0) -> str:
        done = again.look(*arguments, code=code)
        return str(done.stdout) + (str(done.stderr) if code else "")

    return run


def records(here: Here) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads(here("runs", "--json"))
    return found


def test_a_store_explains_itself(again: Any, here: Here) -> None:
    """Two runs with different configs: listed, compared, and the older one forgotten."""
    (first,) = records(here)
    assert (first["outcome"], first["pipeline"], first["config"]["seed"]) == ("done", "tiny", 3)
    assert {stage["what"] for stage in first["stages"].values()} == {"made"}

    shown = here("why", "tiny.toml", "evaluate.base/procedural_mixed", *GRADED)
    assert "evaluate.base/samples/procedural_mixed: done" in shown
    assert "evaluate.base/verdicts/procedural_mixed: to do" in shown and "field timeout_s: 5.0 -> 6.0" in shown
    (reason,) = json.loads(here("why", "tiny.toml", "report", "--json", *GRADED))[0]["differences"][:1]
    assert reason["what"] == "input" and reason["source"].startswith("evaluate.base/verdicts/")
    assert [below["name"] for below in reason["because"]] == ["timeout_s"], "followed to where it comes from"
    (planned,) = (
        s for s in json.loads(here("plan", "tiny.toml", "--json", *GRADED))["stages"] if s["stage"] == "report"
    )
    assert planned["artifacts"][0]["seconds"] > 0 and planned["artifacts"][0]["seconds_from"] == "report"

    again("run", "tiny.toml", *GRADED)
    listed = here("runs")
    assert "config: evaluate.grade_timeout_s: 5.0 -> 6.0" in listed
    second = records(here)[1]
    assert second["stages"]["model.base"]["what"] == "reused" and second["stages"]["report"]["what"] == "made"
    difference = json.loads(here("diff", first["id"], second["id"], "--json"))
    # The store was copied, so its path differs, too.
    assert {field["name"] for field in difference["config"]} == {
        "evaluate.grade_timeout_s",
        "overrides",
        "publish.0.path",
        "store",
    }
    assert {key.partition("/")[0] for key in difference["outputs"]} == {
        "evaluate.base",
        "report",
        "publish.static_site",
    }
    scores = difference["scores"]["evaluate.base/verdicts/procedural_double"]
    assert scores["first"] == scores["second"]

    uses = json.loads(here("uses", "model.base", "--json"))
    assert uses["runs"] == [first["id"], second["id"]] and "tiny: model.base" in uses["pipelines"]
    assert {"evaluate.base/verdicts/procedural_mixed", "report"} <= {user["key"] for user in uses["made_from_it"]}
    assert "hpt.evaluation.grade" in here("logs", "evaluate.base/verdicts")
    assert "did you mean 'evaluate.base'" in here("logs", "evaluate.bse", code=1)

    here("export", "model.base", "mine", "--name", "My model")
    card = (again.folder / "mine" / "README.md").read_text()
    for part in ("# My model\n", "| procedural_mixed | math-", "### model.base\n", '"name": "scratch"', "hidden_size"):
        assert part in card
    assert card.count("| procedural_mixed |") == 1, "graded twice, with two time limits"
    assert (again.folder / "mine" / "model.safetensors").is_file()
    assert "mine exists already" in here("export", "model.base", "mine", code=2)
    assert "is not a model" in here("export", "report", "other", code=2)

    sizes = json.loads(here("store", "--json"))
    assert sizes["kinds"]["verdicts"]["finished"] == 4 and sizes["runs"] == 2
    assert json.loads(here("gc", "--json"))["removed"] == [], "every artifact belongs to a run"
    report = next(place for key, place in first["artifacts"].items() if key == "report")
    here("pin", report, "--note", "shown in a talk")
    would = json.loads(here("gc", "--pipeline", "tiny", "--json"))
    assert would["forgotten_runs"] == [first["id"]]
    # The first verdicts have the same content as the second ones, so the pinned report needs only those.
    again_made = {f"evaluate.base/verdicts/procedural_{name}" for name in ("double", "mixed")}
    assert {row["key"] for row in would["removed"]} == {"publish.static_site", *again_made}
    here("pin", report, "--remove")
    freed = json.loads(here("gc", "--pipeline", "tiny", "--delete", "--json"))
    gone = {row["place"] for row in freed["removed"]}
    assert report in gone and len(gone) == 4 and freed["freed_bytes"] > 0
    assert json.loads(here("plan", "tiny.toml", "--json", *GRADED))["finished"]
    assert [run["id"] for run in records(here)] == [second["id"]]

    assert "0 artifacts are damaged" in here("verify")
    (table,) = again.store.glob("report/*/output/leaderboard.md")
    table.write_text(table.read_text().replace("0.0", "9.9", 1))
    assert f"{table} has changed since it was written" in here("verify", code=1)


def test_a_killed_run_is_told_from_one_in_progress(again: Any, here: Here) -> None:
    again.train_too()
    process = again.start("train", "tiny.toml")
    end = time.monotonic() + 200
    while not list(again.store.glob("train/*/work/checkpoints/step-*")):
        assert time.monotonic() < end and process.poll() is None, process.communicate()
        time.sleep(0.1)
    assert [run["outcome"] for run in records(here)] == ["done", "running"]
    assert json.loads(here("gc", "--pipeline", "tiny", "--json"))["forgotten_runs"] == []
    follower = again.start("logs", "train.sft", "--follow")
    time.sleep(3)
    process.kill()
    process.communicate()
    out, _ = follower.communicate(timeout=60)
    assert "hpt.training.checkpoint: saved" in out, "it ends with the run"
    killed = records(here)[-1]
    assert (killed["outcome"], killed["end"]) == ("died", None)
    assert re.search(r"died +1 reused, .*1 started\n +only = train\n(.*\n)*? +while it ran train\.sft\n", here("runs"))
    # Its checkpoints are kept as long as the run is remembered.
    assert json.loads(here("gc", "--json"))["removed"] == []
    (folder,) = again.store.glob("train/*")
    here("gc", "--pipeline", "tiny", "--delete", "--keep-runs", "0")
    assert not Path(folder).exists() and records(here) == []
