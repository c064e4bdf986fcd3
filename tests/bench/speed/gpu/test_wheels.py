"""Wheels for a machine without a network."""

import re
from pathlib import Path

import pytest

from bench.machine import ROOT
from bench.speed.gpu import wheels


def test_every_wheel_has_the_version_of_the_constraints() -> None:
    pins = wheels.pins()
    assert len(pins) == len(wheels.PACKAGES)
    constraints = (ROOT / "requirements" / "constraints.txt").read_text(encoding="utf-8").splitlines()
    assert set(pins) <= {line.split(" ")[0] for line in constraints}
    assert "antlr4-python3-runtime==4.13.2" in pins


def test_this_environment_lacks_no_package() -> None:
    assert wheels.missing() == []


def test_a_folder_without_wheels_exits(tmp_path: Path) -> None:
    with pytest.raises(SystemExit, match=re.escape("python -m bench.speed.gpu.wheels")):
        wheels.install(tmp_path, tmp_path / "site")


def test_wheels_are_never_committed() -> None:
    assert f"/{wheels.FOLDER.relative_to(ROOT)}/" in (ROOT / ".gitignore").read_text(encoding="utf-8").splitlines()
