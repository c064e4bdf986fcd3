"""`hpt store` and `hpt gc`."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from bench.stores import MadeUp
from hpt_core.artifacts import Store

KIND = """
from tasks.execution.kind import StageKind


class Notes(StageKind):
    forever = ("samples",)

    def stages(self, pipeline):
        return ()


KIND = Notes()
"""


def test_gc_keeps_what_a_kind_of_stage_beside_the_config_keeps(
    run_here: Callable[..., Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And says so if it cannot load the kind."""
    made = MadeUp(tmp_path / "runs")
    made.run("demo", {"hpt": {}})
    log = Store(tmp_path / "runs").history.begin("notes", {"name": "notes", "notes_of_mine:KIND": {}})
    log.end("done")
    forget = ("gc", "--pipeline", "demo", "--keep-runs", "0", "--json")
    told = run_here(*forget)
    assert {row["place"].partition("/")[0] for row in json.loads(told.out)["removed"]} == {"model", "train"}
    assert "notes_of_mine" in told.err and "add its folder to HPT_PLUGINS" in told.err
    (tmp_path / "plugins").mkdir()
    (tmp_path / "plugins" / "notes_of_mine.py").write_text(KIND.replace("samples", "train"))
    monkeypatch.setenv("HPT_PLUGINS", str(tmp_path / "plugins"))
    told = run_here(*forget)
    assert json.loads(told.out)["removed"] == [] and told.err == ""
