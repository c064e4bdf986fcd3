"""The examples of services: they start `hpt up` with options that exist, and give runs time to report at the end."""

import configparser
import shlex
import shutil
import subprocess
from pathlib import Path

import pytest
import typer
import yaml

from flows.cli import app
from flows.load import load_config
from flows.machine import END_WITHIN_S

ROOT = Path(__file__).resolve().parents[2]
UNIT = ROOT / "examples" / "systemd" / "hpt.service"


def check(command: list[str]) -> None:
    """The command is `hpt up --foreground CONFIG`, with a config that exists."""
    program, name, *arguments = command
    assert program.endswith(".venv/bin/hpt")
    parameters = {o for p in typer.main.get_group(app).commands[name].params for o in p.opts}  # type: ignore[attr-defined]
    options = [a for a in arguments if a.startswith("-")]
    assert options == ["--foreground"] and set(options) <= parameters
    for config in set(arguments) - set(options):
        load_config(ROOT / config)


def test_the_unit_starts_everything_and_ends_it_in_order(tmp_path: Path) -> None:
    unit = configparser.ConfigParser(interpolation=None)
    unit.optionxform = str  # type: ignore[assignment, method-assign]
    unit.read(UNIT)
    service = unit["Service"]
    check(shlex.split(service["ExecStart"]))
    assert service["KillMode"] == "mixed"
    # The workers, then the server.
    assert int(service["TimeoutStopSec"]) > 2 * END_WITHIN_S


def test_systemd_accepts_the_unit(tmp_path: Path) -> None:
    if shutil.which("systemd-analyze") is None:
        pytest.skip("needs systemd-analyze")
    unit = tmp_path / UNIT.name
    unit.write_text(UNIT.read_text().replace("%h/hpt-pipelines/.venv/bin/hpt", "/bin/true"))
    done = subprocess.run(["systemd-analyze", "verify", str(unit)], capture_output=True, text=True, check=False)
    assert "hpt.service" not in done.stderr, done.stderr


def test_the_compose_file_starts_everything() -> None:
    service = yaml.safe_load((ROOT / "examples" / "compose.yaml").read_text())["services"]["hpt"]
    check(service["command"])
    assert service["init"] and service["network_mode"] == "host"
    assert service["stop_grace_period"] == "2m"
