"""Rules on imports: one way, no orchestrator in the algorithm, no heavy library for reading a config."""

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
HEAVY = ("torch", "vllm", "transformers", "huggingface_hub", "ray", "sympy", "datasets", "prefect")


def test_imports_run_one_way() -> None:
    """The contracts of [tool.importlinter]: flows -> tasks -> benchmarks -> hpt_core, and prefect only above."""
    code = "import sys; from importlinter.cli import lint_imports; sys.exit(lint_imports())"
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=300, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "kept, 0 broken" in done.stdout


MODULES = ["hpt_core.base", "hpt_core.plugins", "tasks.execution.config", "flows.load", "flows.graph", "flows.cli"]


def heavy(code: str) -> list[str]:
    """What is imported of HEAVY after this code."""
    code = f"import sys; {code}; print(' '.join(sorted(set(sys.modules) & set({HEAVY!r}))))"
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=120, check=True
    )
    return done.stdout.split()


@pytest.mark.parametrize("module", MODULES)
def test_configs_load_without_heavy_libraries(module: str) -> None:
    assert heavy(f"import {module}") == []


@pytest.mark.parametrize("config", sorted(Path(ROOT / "configs").glob("*.toml")), ids=lambda path: path.stem)
def test_what_a_config_names_is_read_and_planned_without_heavy_libraries(config: Path) -> None:
    """With every plug-in that it names, and every kind of stage."""
    read = f"from pathlib import Path; from flows.load import load_config; c = load_config(Path({str(config)!r}))"
    assert heavy(f"{read}; from flows.graph import build; build(c)") == []
