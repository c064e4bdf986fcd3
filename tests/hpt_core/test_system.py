"""Required system packages, and the command that installs them."""

from pathlib import Path

import pytest

from hpt_core import system
from hpt_core.rollout import _kernels

ABSENT = system.Need(
    "libabsent.so.1", "a test", system._library("libabsent.so.1"), ("libabsent1", "absent-libs", "absent", "absent-all")
)
PROGRAM = system.Need("absent-program", "a test", system._program("absent-program"), ("absent-utils",) * 4)


def test_missing_libraries_and_programs_are_found() -> None:
    assert system._library("libc.so.6")()
    assert system._program("absent-program", "sh")()
    assert not ABSENT.present()
    assert not PROGRAM.present()


def test_this_machine_lacks_nothing() -> None:
    assert system.missing(_kernels.engine() or "cpu") == []


@pytest.mark.parametrize(
    ("manager", "command"),
    [
        ("apt-get", "as root, run `apt-get update && apt-get install libabsent1 absent-utils`"),
        ("dnf", "as root, run `dnf install absent-libs absent-utils`"),
        ("zypper", "as root, run `zypper install absent absent-utils`"),
        ("pacman", "as root, run `pacman -S absent-all absent-utils`"),
        (None, "install libabsent1 absent-utils (their names on Debian) with the system's package manager"),
    ],
)
def test_the_remedy_is_the_command_of_the_systems_package_manager(
    manager: str | None, command: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if manager:
        (tmp_path / manager).write_text("")
        (tmp_path / manager).chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert system.remedy([ABSENT, PROGRAM, PROGRAM]) == command
    assert system.cause([ABSENT]) == "libabsent.so.1 is missing, needed by a test"


def test_every_engine_names_a_package_for_every_manager() -> None:
    for engine in ("cpu", "gpu"):
        for need in system.needs(engine):
            assert len(need.packages) == len(system.MANAGERS)
