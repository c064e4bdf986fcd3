"""What has run on a store, why something is not done, what differs, and what may be removed."""

import json
import re
import time
from pathlib import Path
from typing import Any

GRADED = ("--set", "evaluate.grade_timeout_s=6")


def records(hpt: Any) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads(hpt("runs", "--json").stdout)
    return found


def test_a_store_explains_itself(again: Any) -> None:
    """Two runs with different configs: listed, compared, and the older one forgotten."""
    (first,) = records(again)
    assert (first["outcome"], first["pipeline"], first["config"]["seed"]) == ("done", "tiny", 3)
    assert {stage["what"] for stage in first["stages"].values()} == {"made"}

    shown = again("why", "tiny.toml", "evaluate.base/procedural_mixed", *GRADED).stdout
    assert "evaluate.base/samples/procedural_mixed: done" in shown
    assert "evaluate.base/verdicts/procedural_mixed: to do" in shown and "field timeout_s: 5.0 -> 6.0" in shown
    (reason,) = json.loads(again("why", "tiny.toml", "report", "--json", *GRADED).stdout)[0]["differences"][:1]
    assert reason["what"] == "input" and reason["source"].startswith("evaluate.base/verdicts/")
    assert [below["name"] for below in reason["because"]] == ["timeout_s"], "followed to where it comes from"
    (planned,) = (
        s for s in json.loads(again("plan", "tiny.toml", "--json", *GRADED).stdout)["stages"] if s["stage"] == "report"
    )
    assert planned["artifacts"][0]["seconds"] > 0 and planned["artifacts"][0]["seconds_from"] == "report"

    again("run", "tiny.toml", *GRADED)
    listed = again("runs").stdout
    assert "config: evaluate.grade_timeout_s: 5.0 -> 6.0" in listed
    second = records(again)[1]
    assert second["stages"]["model.base"]["what"] == "reused" and second["stages"]["report"]["what"] == "made"
    difference = json.loads(again("diff", first["id"], second["id"], "--json").stdout)
    assert [field["name"] for field in difference["config"]] == ["evaluate.grade_timeout_s"]
    assert {key.partition("/")[0] for key in difference["outputs"]} == {
        "evaluate.base",
        "report",
        "publish.static_site",
    }
    scores = difference["scores"]["evaluate.base/verdicts/procedural_double"]
    assert scores["first"] == scores["second"]

    uses = json.loads(again("uses", "model.base", "--json").stdout)
    assert uses["runs"] == [first["id"], second["id"]] and "tiny: model.base" in uses["pipelines"]
    assert {"evaluate.base/verdicts/procedural_mixed", "report"} <= {user["key"] for user in uses["made_from_it"]}
    assert "hpt.evaluation.grade" in again("logs", "evaluate.base/verdicts").stdout
    failed = again("logs", "evaluate.bse", code=1)
    assert "did you mean 'evaluate.base'" in failed.stderr

    sizes = json.loads(again("store", "--json").stdout)
    assert sizes["kinds"]["verdicts"]["finished"] == 4 and sizes["runs"] == 2
    assert json.loads(again("gc", "--json").stdout)["removed"] == [], "every artifact belongs to a run"
    report = next(place for key, place in first["artifacts"].items() if key == "report")
    again("pin", report, "--note", "shown in a talk")
    would = json.loads(again("gc", "--pipeline", "tiny", "--json").stdout)
    assert would["forgotten_runs"] == [first["id"]] and {row["key"] for row in would["removed"]} == {
        "publish.static_site"
    }
    again("pin", report, "--remove")
    freed = json.loads(again("gc", "--pipeline", "tiny", "--delete", "--json").stdout)
    gone = {row["place"] for row in freed["removed"]}
    assert report in gone and len(gone) == 4 and freed["freed_bytes"] > 0
    assert json.loads(again("plan", "tiny.toml", "--json", *GRADED).stdout)["finished"]
    assert [run["id"] for run in records(again)] == [second["id"]]

    assert "0 artifacts are damaged" in again("verify").stdout
    (table,) = again.store.glob("report/*/output/leaderboard.md")
    table.write_text(table.read_text().replace("0.0", "9.9", 1))
    damaged = again("verify", code=1)
    assert f"{table} has changed since it was written" in damaged.stdout


def test_a_killed_run_is_told_from_one_in_progress(again: Any) -> None:
    again.train_too()
    process = again.start("train", "tiny.toml")
    end = time.monotonic() + 200
    while not list(again.store.glob("train/*/work/checkpoints/step-*")):
        assert time.monotonic() < end and process.poll() is None, process.communicate()
        time.sleep(0.1)
    assert [run["outcome"] for run in records(again)] == ["done", "running"]
    assert json.loads(again("gc", "--pipeline", "tiny", "--json").stdout)["forgotten_runs"] == []
    follower = again.start("logs", "train.sft", "--follow")
    time.sleep(3)
    process.kill()
    process.communicate()
    out, _ = follower.communicate(timeout=60)
    assert "hpt.training.checkpoint: saved" in out, "it ends with the run"
    killed = records(again)[-1]
    assert (killed["outcome"], killed["end"]) == ("died", None)
    assert re.search(r"died\n +only = train\n(.*\n)*? +it had begun train\.sft\n", again("runs").stdout)
    # Its checkpoints are kept as long as the run is remembered.
    assert json.loads(again("gc", "--json").stdout)["removed"] == []
    (folder,) = again.store.glob("train/*")
    again("gc", "--pipeline", "tiny", "--delete", "--keep-runs", "0")
    assert not Path(folder).exists() and records(again) == []
