"""Logs as JSON."""

import json
import logging
import threading

import pytest

from hpt_core import logs


@pytest.fixture
def as_json(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(logs.SETTING, logs.JSON)


def record(message: str, *arguments: object, error: bool = False) -> logging.LogRecord:
    info = None
    if error:
        try:
            raise RuntimeError("it\nbroke")
        except RuntimeError as caught:
            info = (type(caught), caught, caught.__traceback__)
    return logging.LogRecord("hpt.x", logging.WARNING, __file__, 1, message, arguments, info)


@pytest.mark.usefixtures("as_json")
def test_a_record_is_one_line_with_what_it_is_about() -> None:
    form = logs.formatter("%(message)s")
    with logs.about(pipeline="demo", run="r1"), logs.about(stage="train.hpt"):
        line = form.format(record("a\nb %s", "é", error=True))
        assert logs.fields() == {"pipeline": "demo", "run": "r1", "stage": "train.hpt"}
    assert "\n" not in line
    found = json.loads(line)
    assert list(found) == ["time", "level", "logger", "pipeline", "run", "stage", "message", "error"]
    assert (found["level"], found["logger"], found["message"]) == ("WARNING", "hpt.x", "a\nb é")
    assert found["error"].endswith("RuntimeError: it\nbroke")
    assert found["time"].endswith("Z") and found["time"][10] == "T"
    assert logs.fields() == {}


def test_text_is_the_default(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(logs.SETTING, raising=False)
    assert logs.formatter("%(levelname)s %(message)s").format(record("x")) == "WARNING x"
    assert logs.told("printed") == "printed"


@pytest.mark.usefixtures("as_json")
def test_lines_of_workers_get_what_they_are_about() -> None:
    line = logs.formatter("").format(record("loaded"))
    with logs.about(stage="train.hpt"):
        for text in (line, f"[rank1]: {line}"):
            assert json.loads(logs.told(text)) == json.loads(line) | {"stage": "train.hpt"}
        printed = json.loads(logs.told("a library prints"))
    assert (printed["logger"], printed["message"], printed["stage"]) == ("output", "a library prints", "train.hpt")
    assert logs.parsed("no line") is None and logs.parsed('{"time": broken') is None


def test_threads_do_not_share_what_they_are_about() -> None:
    seen = []
    with logs.about(stage="a"):
        thread = threading.Thread(target=lambda: seen.append(logs.fields()))
        thread.start()
        thread.join()
    assert seen == [{}]
