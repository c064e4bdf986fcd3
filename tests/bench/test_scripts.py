"""Every bench starts, and the table of benches is whole."""

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
SCRIPTS = sorted(path for path in (ROOT / "bench").glob("*.py") if "argparse" in path.read_text(encoding="utf-8"))


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.stem)
def test_a_bench_explains_itself(script: Path) -> None:
    done = subprocess.run(
        [sys.executable, str(script), "--help"], capture_output=True, text=True, timeout=120, cwd=ROOT
    )
    assert done.returncode == 0, done.stderr
    assert "usage:" in done.stdout


@pytest.mark.parametrize("script", [s for s in SCRIPTS if s.stem != "trl_env"], ids=lambda path: path.stem)
def test_a_bench_is_documented(script: Path) -> None:
    assert f"bench/{script.name}" in (ROOT / "docs" / "benchmarks.md").read_text(encoding="utf-8")
