"""Logs as JSON, of a real run."""

import json
from typing import Any

from tests.flows.pipelines import TINY


def objects(text: str) -> list[dict[str, str]]:
    """Every line of the text as an object."""
    found = [json.loads(line) for line in text.splitlines()]
    assert all({"time", "level", "logger", "message"} <= line.keys() for line in found)
    return found


def test_every_line_of_a_run_is_an_object(empty: Any) -> None:
    done = empty("run", "--log-format", "json", "tiny.toml")
    lines = objects(done.stderr)
    (run,) = json.loads(empty.look("runs", "--json").stdout)
    about = {(line["pipeline"], line["run"], line["stage"]) for line in lines if "stage" in line}
    assert {("tiny", run["id"], stage) for stage in run["stages"]} <= about
    assert [line["message"] for line in lines if line.get("stage") == "report"][-1].startswith("done")

    for log in empty.store.glob("*/*/log.txt"):
        for line in objects(log.read_text()):
            assert (line["pipeline"], line["run"]) == ("tiny", run["id"]) and line["stage"] in run["stages"]
    logs = objects((empty.store / "logs" / "tiny.log").read_text())
    assert {line["pipeline"] for line in logs if line["logger"].startswith("hpt")} == {"tiny"}

    again = empty("run", "tiny.toml", "--log-format=json")
    assert {line["message"] for line in objects(again.stderr)} == {"reused"}


def test_an_error_is_an_object(fresh: Any) -> None:
    fresh.write(TINY.replace("otherwise", "no_such"))
    failed = fresh("run", "tiny.toml", "--log-format", "json", code=2)
    (line,) = objects(failed.stderr)
    assert line["level"] == "ERROR" and "no_such" in line["message"]
    fresh.environment["HPT_LOG"] = "xml"
    assert "--log-format 'xml' is unknown. Remedy: choose text or json." in fresh("run", "tiny.toml", code=2).stderr
