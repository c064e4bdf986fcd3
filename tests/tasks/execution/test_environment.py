"""The description of the machine."""

import re
import subprocess
from pathlib import Path

import pytest

from hpt_core.rollout.base import EngineConfig
from tasks.execution import environment
from tasks.execution.environment import visible_memory

TABLE = """0, GPU-aaaa, 81559
1, GPU-bbbb, 24564
2, GPU-cccc, [N/A]
"""
FIRST, SECOND = 81559 * 2**20, 24564 * 2**20


@pytest.mark.parametrize(
    ("visible", "expected"),
    [
        (None, (FIRST, SECOND)),
        ("1,0", (SECOND, FIRST)),
        ("GPU-bbbb", (SECOND,)),
        ("", ()),
        ("7", ()),
    ],
)
def test_memory_counts_the_devices_that_a_worker_sees(visible: str | None, expected: tuple[int, ...]) -> None:
    assert visible_memory(TABLE, visible) == expected


@pytest.mark.parametrize(
    ("config", "expected"),
    [
        ({"name": "vllm"}, r"vllm \d+\.\d+"),
        ({"name": "endpoint"}, r"endpoint \d+\.\d+"),
        ({"name": "endpoint", "url": "http://gpu7:8000/v1"}, r"endpoint$"),
        ({"name": "transformers"}, r"transformers \d+\.\d+"),
    ],
)
def test_an_engine_has_the_version_of_its_package(config: dict[str, str], expected: str) -> None:
    engine = EngineConfig.from_value(config)
    assert re.match(expected, environment.engine_version(engine))


def test_the_commit_is_that_of_the_checkout() -> None:
    root = Path(environment.__file__).parents[2]
    if not (root / ".git").exists():
        pytest.skip("needs a git checkout")
    head = subprocess.run(["git", "-C", str(root), "rev-parse", "HEAD"], capture_output=True, text=True, check=True)
    assert (environment.git_commit() or "").removesuffix("+changes") == head.stdout.strip()
