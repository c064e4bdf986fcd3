"""The choice of tests that the check runs."""

from pathlib import Path

import pytest

from bench.speed.gpu import checks
from bench.speed.gpu.checks import MARK

TEXT = """
import pytest

pytestmark = pytest.MARK

def test_alone(): ...

def test_with_an_engine(spec):
    train(spec(engine="vllm"))
""".replace("MARK", MARK)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    folder = tmp_path / "tests" / "training"
    folder.mkdir(parents=True)
    (folder / "test_mixed.py").write_text(TEXT)
    (folder / "test_engine.py").write_text(TEXT.replace("def test_alone(): ...", ""))
    (folder / "test_other.py").write_text("def test_on_a_cpu(): ...")
    return tmp_path


def test_tests_that_need_vllm_are_left_out_without_it(root: Path) -> None:
    found = checks.choose(root, have_vllm=False)
    assert found.files == ["tests/training/test_mixed.py"]
    assert found.left_out == [f"tests/training/test_{name}.py::test_with_an_engine" for name in ("engine", "mixed")]


def test_all_tests_run_with_vllm(root: Path) -> None:
    found = checks.choose(root, have_vllm=True)
    assert found.files == ["tests/training/test_engine.py", "tests/training/test_mixed.py"]
    assert found.left_out == []


def test_the_check_has_a_test_to_run_without_vllm() -> None:
    assert "tests/bench/speed/gpu/test_step.py" in checks.choose(have_vllm=False).files
