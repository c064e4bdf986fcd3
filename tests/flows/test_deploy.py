"""Deployments from configs, and a server of one's own."""

import json
import re
import socket
import stat
import time
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

import psutil
import pytest
from prometheus_client.parser import text_string_to_metric_families

from flows.commands.deploy import read_pipelines
from flows.deploy import deployments
from flows.load import load_config, overridden
from flows.run import RunOptions
from hpt_core.errors import ConfigError
from tasks.execution.config import PipelineConfig

ROOT = Path(__file__).resolve().parents[2]
DEMO = ROOT / "configs" / "demo.toml"


def made(*overrides: str) -> dict[str, Any]:
    config = load_config(DEMO, overrides)
    return {d.name: d for d in deployments(config, DEMO, ROOT)}


def test_a_pipeline_has_a_deployment_for_all_of_it_and_for_each_kind_of_stage() -> None:
    found = made("schedule.cron='0 1 * * *'", "schedule.timezone=Europe/Berlin", "schedule.set=['seed=2']")
    assert {name: d.parameters["only"] for name, d in found.items()} == {
        "demo": [],
        "demo-prepare": ["data"],
        "demo-train": ["train"],
        "demo-evaluate": ["evaluate"],
        "demo-leaderboard": ["publish"],
    }
    assert {d.parameters["config"] for d in found.values()} == {str(DEMO)}
    assert {tuple(d.parameters["set"]) for d in found.values()} == {("seed=2",)}
    assert {
        name: RunOptions.model_validate(d.parameters.get("options", {})).only_ready for name, d in found.items()
    } == {name: name == "demo-leaderboard" for name in found}
    assert {name: [(s.schedule.cron, s.schedule.timezone) for s in d.schedules] for name, d in found.items()} == {
        name: [("0 1 * * *", "Europe/Berlin")] if name == "demo" else [] for name in found
    }


def test_a_version_changes_with_the_deployment_only() -> None:
    before, same, other = made(), made("train.hpt.steps=3"), made("schedule.pool=gpu")
    assert {n: d.version for n, d in before.items()} == {n: d.version for n, d in same.items()}
    assert not {d.version for d in before.values()} & {d.version for d in other.values()}


@pytest.mark.parametrize(
    ("field", "said"),
    [
        ("cron='every day'", "'every day' is not a cron expression. Remedy: write five fields"),
        ("timezone='Mars/Base'", "'Mars/Base' is no known time zone"),
    ],
)
def test_a_wrong_schedule_is_refused(field: str, said: str) -> None:
    with pytest.raises(ConfigError, match=re.escape(said)):
        load_config(DEMO, [f"schedule.{field}"])


def test_a_cron_expression_out_of_range_is_refused() -> None:
    with pytest.raises(ConfigError, match="is not a cron expression"):
        made("schedule.cron='99 1 * * *'")


def test_pipelines_of_one_name_are_refused(tmp_path: Path) -> None:
    twin = tmp_path / "twin.toml"
    twin.write_text(f'extends = "{DEMO}"\n')
    with pytest.raises(ConfigError, match="both have the name 'demo'"):
        read_pipelines([DEMO, twin])


def test_any_field_of_a_whole_config_can_be_set() -> None:
    config = load_config(DEMO)
    assert overridden(config, ()) is config
    changed = overridden(config, ["train.hpt.steps=3", "train.hpt.algorithm.gate.gamma=0.5"])
    assert isinstance(changed, PipelineConfig)
    assert changed.model_dump()["train"]["hpt"]["steps"] == 3
    with pytest.raises(ConfigError, match="no_such"):
        overridden(config, ["train.hpt.no_such=1"])


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def metrics_at(url: str) -> dict[tuple[str, tuple[tuple[str, str], ...]], float]:
    with urllib.request.urlopen(url, timeout=20) as answer:
        families = text_string_to_metric_families(answer.read().decode())
    return {(s.name, tuple(sorted(s.labels.items()))): s.value for family in families for s in family.samples}


@pytest.mark.slow
def test_up_starts_a_closed_server_and_down_ends_all_of_it(tmp_path: Path, fresh: Any) -> None:
    home, port = tmp_path / "home", free_port()
    fresh.environment = {k: v for k, v in fresh.environment.items() if not k.startswith("PREFECT_")}
    fresh.environment |= {"HPT_HOME": str(home), "HPT_METRICS_PORT": str(free_port())}
    try:
        first = fresh("up", "tiny.toml", "--port", str(port)).stdout
        assert f"started  server http://127.0.0.1:{port}/api" in first
        assert "created  deployment pipeline/tiny-evaluate" in first and "started  worker of hpt" in first
        processes = [psutil.Process(number) for number, _ in json.loads((home / "processes.json").read_text()).values()]

        again = fresh("up", "tiny.toml").stdout
        assert set(re.findall(r"^ *(\w+)  (?:server|worker|metrics|auto|work pool|depl)", again, re.MULTILINE)) == {
            "unchanged"
        }
        assert len(re.findall("^unchanged", again, re.MULTILINE)) == len(
            re.findall("^ *(created|started)", first, re.MULTILINE)
        )
        fresh.config.write_text(fresh.config.read_text() + '[schedule]\ncron = "0 1 * * *"\n')
        changed = fresh("up", "tiny.toml").stdout
        assert "updated  deployment pipeline/tiny\n" in changed and changed.count("updated") == 1

        found = metrics_at(re.findall(r"metrics (\S+)", first)[0])
        assert found["hpt_prefect_up", ()] == 1
        until = time.monotonic() + 120
        while not found.get(("hpt_queue", (("pool", "hpt"), ("state", "scheduled")))):
            assert time.monotonic() < until, "the scheduled runs are not counted"
            time.sleep(1)
            found = metrics_at(re.findall(r"metrics (\S+)", again)[0])

        for name in ("environment", "encryption-key"):
            assert stat.S_IMODE((home / name).stat().st_mode) == 0o600
        with pytest.raises(urllib.error.HTTPError, match="401"):
            urllib.request.urlopen(f"http://127.0.0.1:{port}/api/flows/count", data=b"{}", timeout=10)
    finally:
        down = fresh("down").stdout
    stopped = [("stopped", name) for name in ("metrics", "worker of hpt", "server")]
    assert re.findall(r"(\w+)  ([\w ]+)", down) == stopped
    assert not [p for p in processes if p.is_running() and p.status() != psutil.STATUS_ZOMBIE]
    assert fresh("down").stdout == ""
