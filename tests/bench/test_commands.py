"""Every command has a help text and is in the document."""

import pytest
from typer.testing import CliRunner

from bench.__main__ import app
from bench.machine import ROOT
from bench.parity.__main__ import app as parity
from bench.scale.__main__ import app as scale
from bench.speed.__main__ import app as speed

COMMANDS = [
    *(("parity", command.name or "") for command in parity.registered_commands),
    *(("scale", command.name or "") for command in scale.registered_commands),
    *(("speed", command.name or "gpu") for command in speed.registered_commands),
]


@pytest.mark.parametrize(("part", "name"), COMMANDS)
def test_a_command_has_help_and_documentation(part: str, name: str) -> None:
    if name != "gpu":  # its options are its own program's, which tests/bench/speed/gpu starts
        done = CliRunner().invoke(app, [part, name, "--help"])
        assert done.exit_code == 0, done.output
        assert "--out" in done.output
    assert f"bench.{part} {name}`" in (ROOT / "docs" / "benchmarks.md").read_text(encoding="utf-8")


def test_a_missing_model_error_names_the_remedy() -> None:
    done = CliRunner().invoke(app, ["speed", "step", "--model", "/nowhere"])
    assert done.exit_code == 2
    assert "hpt models fetch" in done.output


def test_an_unknown_peer_is_refused() -> None:
    done = CliRunner().invoke(app, ["peers", "verl"])
    assert done.exit_code == 2
    assert "trl" in done.output
