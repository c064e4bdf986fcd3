"""The Python examples of the documents run unchanged."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

DOCS = Path(__file__).resolve().parents[2] / "docs"
EXAMPLES = sorted(path for path in DOCS.rglob("*.md") if "```python\n" in path.read_text(encoding="utf-8"))


@pytest.mark.parametrize("document", EXAMPLES, ids=lambda path: path.relative_to(DOCS).as_posix())
def test_examples_run_from_top_to_bottom(document: Path, prefect_environment: dict[str, str], tmp_path: Path) -> None:
    """In one script, without a guard, as a reader would type them."""
    blocks = re.findall(r"```python\n(.*?)```", document.read_text(encoding="utf-8"), re.DOTALL)
    (tmp_path / "example.py").write_text("\n".join(blocks), encoding="utf-8")
    command = [sys.executable, "example.py"]
    environment = prefect_environment | {"PYTHONPATH": os.environ.get("PYTHONPATH", "")}  # examples use pandas
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stdout + done.stderr


def test_there_are_examples() -> None:
    assert DOCS / "guides" / "library.md" in EXAMPLES
