"""The shipped deployments: each runs the one flow with valid options."""

from pathlib import Path
from typing import Any

import pytest
import yaml
from prefect.flows import load_flow_from_entrypoint
from prefect.utilities.callables import parameter_schema
from prefect.utilities.schema_tools import validate

from flows import graph as graphs
from flows.load import load_config
from flows.run import RunOptions

ROOT = Path(__file__).resolve().parent.parent
DEPLOYMENTS = {d["name"]: d for d in yaml.safe_load((ROOT / "prefect.yaml").read_text(encoding="utf-8"))["deployments"]}
GOALS = {
    "nightly": (),
    "prepare": ("data",),
    "train": ("train",),
    "evaluate": ("evaluate",),
    "report": ("report",),
    "leaderboard": ("publish",),
}


def test_every_deployment_is_known() -> None:
    assert {name: RunOptions.model_validate(options_of(name)).only for name in DEPLOYMENTS} == GOALS
    assert [name for name in DEPLOYMENTS if options_of(name).get("only_ready")] == ["leaderboard"]
    assert [name for name, found in DEPLOYMENTS.items() if "schedules" in found] == ["nightly", "leaderboard"]


def options_of(name: str) -> dict[str, Any]:
    found: dict[str, Any] = DEPLOYMENTS[name]["parameters"].get("options", {})
    return found


@pytest.mark.parametrize("name", DEPLOYMENTS)
def test_a_deployment_runs_the_flow_with_parameters_that_it_takes(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    deployment = DEPLOYMENTS[name]
    flow: Any = load_flow_from_entrypoint(deployment["entrypoint"])
    assert flow.name == "pipeline"
    assert not validate(deployment["parameters"], parameter_schema(flow).model_dump_for_openapi(), raise_on_error=True)
    config = load_config(ROOT / deployment["parameters"]["config"])
    for goal in RunOptions.model_validate(options_of(name)).only:
        assert graphs.match(graphs.build(config), goal)
