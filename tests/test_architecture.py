"""Rules on imports: one way, no orchestrator in the algorithm, no heavy library for reading a config."""

import json
import subprocess
import sys
from pathlib import Path

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


PROGRAM = """
import importlib, json, sys
from pathlib import Path

modules, configs, heavy = json.loads(sys.argv[1])
found = {}

def look(name):
    found[name] = sorted(set(sys.modules) & set(heavy))

for module in modules:
    importlib.import_module(module)
    look(module)
from flows.graph import build
from flows.load import load_config
for config in configs:
    build(load_config(Path(config)))
    look(config)
print(json.dumps(found))
"""


def test_modules_and_configs_are_read_and_planned_without_heavy_libraries() -> None:
    """With every plug-in that a shipped config names, and every kind of stage. One process reads all; the first one
    with a library is the one that imports it."""
    configs = [str(path) for path in sorted((ROOT / "configs").glob("*.toml"))]
    assert len(configs) > 10
    for modules, read in (["flows.cli"], []), (MODULES, configs):
        command = [sys.executable, "-c", PROGRAM, json.dumps([modules, read, HEAVY])]
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=120, check=True)
        assert json.loads(done.stdout) == {name: [] for name in (*modules, *read)}
