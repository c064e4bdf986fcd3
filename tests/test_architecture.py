"""Rules on imports: one way, no orchestrator in the algorithm, no heavy library for reading a config."""

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
HEAVY = ("torch", "vllm", "transformers", "plotly", "huggingface_hub", "ray", "sympy", "datasets", "prefect")


def test_imports_run_one_way() -> None:
    """The contracts of [tool.importlinter]: flows -> tasks -> benchmarks -> hpt_core, and prefect only above."""
    code = "import sys; from importlinter.cli import lint_imports; sys.exit(lint_imports())"
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=300, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "kept, 0 broken" in done.stdout


@pytest.mark.parametrize("module", ["hpt_core.config", "flows.config", "flows.load", "flows.graph", "flows.cli"])
def test_configs_load_without_heavy_libraries(module: str) -> None:
    code = f"import sys, {module}; print(' '.join(sorted(set(sys.modules) & set({HEAVY!r}))))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120, check=True)
    assert done.stdout.split() == []
