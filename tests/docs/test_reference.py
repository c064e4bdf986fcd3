"""The reference pages are current."""

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import typer

import hpt_core
from flows.cli import app
from flows.deploy import deployments
from flows.load import load_config
from hpt_core.plugins import KINDS
from tests.docs.documents import DOCS, ROOT

REFERENCE = DOCS / "reference"


def test_the_config_reference_is_current() -> None:
    """In a process of its own: other tests declare plug-ins."""
    code = "import sys; from flows.commands.config import reference_text; sys.stdout.write(reference_text())"
    environment = {k: v for k, v in os.environ.items() if k != "HPT_PLUGINS"} | {"PYTHONUTF8": "1"}
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, env=environment, capture_output=True, text=True, timeout=120, check=True
    )
    written = (REFERENCE / "config.md").read_text(encoding="utf-8")
    assert written == done.stdout, "run `make docs`, which writes docs/reference/config.md"


def every_command(command: Any, path: str) -> Iterator[tuple[str, Any]]:
    """(command line, command) of every command that does something."""
    if not hasattr(command, "commands"):
        yield path, command
        return
    for name, inner in command.commands.items():
        yield from every_command(inner, f"{path} {name}")


def test_every_command_and_option_is_documented() -> None:
    text = (REFERENCE / "commands.md").read_text(encoding="utf-8")
    for path, command in every_command(typer.main.get_command(app), "hpt"):
        assert re.search(rf"`{path}[ `]", text), path
        for parameter in command.params:
            option = max(parameter.opts, key=len)
            if option.startswith("--") and option != "--help":
                assert re.search(rf"`[^`]*{option}[ `]", text), f"{path} {option}"


def directives() -> set[str]:
    """What the API pages are made of."""
    pages = (REFERENCE / "api").glob("*.md")
    return {found for page in pages for found in re.findall(r"^::: (\S+)$", page.read_text(encoding="utf-8"), re.M)}


def test_the_api_pages_have_every_public_name_and_base_class() -> None:
    wanted = {(module, name) for name, module in hpt_core._PUBLIC.items()}
    ours = ("hpt_core.", "benchmarks.", "tasks.")
    wanted |= {(k.base.__module__, k.base.__name__) for k in KINDS.values() if k.base.__module__.startswith(ours)}
    shown = directives()
    missing = {f"{module}.{name}" for module, name in wanted if module not in shown and f"{module}.{name}" not in shown}
    assert missing == set()


def test_the_deployments_are_those_of_the_demo() -> None:
    demo = ROOT / "configs" / "demo.toml"
    made = {f"pipeline/{deployment.name}" for deployment in deployments(load_config(demo), demo, ROOT)}
    text = (DOCS / "guides" / "prefect.md").read_text(encoding="utf-8")
    assert made == set(re.findall(r"`(pipeline/[\w-]+)`", text))
