"""The decisions and error messages of setup."""

import ast
import os
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).resolve().parents[2]
SCRIPT = ROOT / "scripts" / "setup_env.py"


@pytest.fixture
def clean(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """An environment in which nobody has configured pip or uv."""
    for name in list(os.environ):
        if name.startswith(("PIP_", "UV_", "SSL_", "ALL_PROXY")):
            monkeypatch.delenv(name)
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    return monkeypatch


def test_the_script_needs_only_the_standard_library() -> None:
    done = subprocess.run([sys.executable, "-I", "-S", str(SCRIPT), "--help"], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("path", [SCRIPT, ROOT / "hpt_core" / "system.py"], ids=lambda path: path.name)
def test_an_older_python_prints_what_is_needed(path: Path) -> None:
    ast.parse(path.read_text(encoding="utf-8"), feature_version=(3, 7))


def test_unknown_extras_are_an_error_that_lists_the_known_extras() -> None:
    done = subprocess.run([sys.executable, str(SCRIPT), "s4"], capture_output=True, text=True)
    assert done.returncode == 1
    assert done.stderr.startswith("[setup] unknown: s4. Remedy: choose from cpu, dev, eight-bit, gpu, ")


def test_cpu_and_gpu_together_are_an_error() -> None:
    done = subprocess.run([sys.executable, str(SCRIPT), "cpu", "gpu"], capture_output=True, text=True)
    assert done.returncode == 1
    assert "choose one" in done.stderr


def test_without_pip_settings_uv_gets_only_our_constraints(setup_env: ModuleType, clean: object) -> None:
    found = setup_env.environment()
    assert found["UV_CONSTRAINT"] == "requirements/constraints.txt"
    assert not {"UV_DEFAULT_INDEX", "UV_EXTRA_INDEX_URL", "UV_FIND_LINKS"} & set(found)


def test_pips_configuration_is_passed_to_uv(
    setup_env: ModuleType, clean: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "pip.conf").write_text(
        "[global]\n"
        "index-url = https://mirror.example/simple\n"
        "extra-index-url =\n    https://one.example/simple\n    https://two.example/simple\n"
        "find-links = /wheels /more\n"
        "constraint = /site/constraints.txt\n"
        "default-timeout = 99\n"
        "[install]\n"
        "trusted-host = mirror.example\n"
        "no-binary = numpy\n"
        "[download]\n"
        "proxy = http://unused.example\n",
        encoding="utf-8",
    )
    clean.setenv("PIP_CONFIG_FILE", str(tmp_path / "pip.conf"))
    clean.setenv("XDG_CONFIG_DIRS", str(tmp_path))
    clean.setenv("PIP_TIMEOUT", "7.5")
    found = setup_env.environment()
    assert found["UV_DEFAULT_INDEX"] == "https://mirror.example/simple"
    assert found["UV_EXTRA_INDEX_URL"] == "https://one.example/simple https://two.example/simple"
    assert found["UV_INDEX_STRATEGY"] == "unsafe-best-match"
    assert found["UV_FIND_LINKS"] == "/wheels,/more"
    assert found["UV_CONSTRAINT"] == "requirements/constraints.txt /site/constraints.txt"
    assert found["UV_INSECURE_HOST"] == "mirror.example"
    # A variable goes before the file.
    assert found["UV_HTTP_TIMEOUT"] == "8"
    assert "ALL_PROXY" not in found
    assert "ignoring pip's setting no-binary = numpy" in capsys.readouterr().out


def test_uvs_own_settings_take_precedence_over_pips(setup_env: ModuleType, clean: pytest.MonkeyPatch) -> None:
    clean.setenv("PIP_INDEX_URL", "https://pips.example/simple")
    clean.setenv("UV_DEFAULT_INDEX", "https://uvs.example/simple")
    assert setup_env.environment()["UV_DEFAULT_INDEX"] == "https://uvs.example/simple"
