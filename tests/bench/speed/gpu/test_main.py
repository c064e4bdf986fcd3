"""The whole check on a CPU with tiny shapes, so errors are found before a GPU is used."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from bench import records
from bench.machine import ROOT
from bench.speed.gpu import __main__ as gpu

RECIPES = ("tiny-lora", "tiny-sft")
ABSENT = ("prefect", "vllm", "jinja2", "sqlalchemy", "typer")
"""Packages that the check must not need."""


@pytest.mark.slow
def test_the_check_measures_each_recipe_without_missing_packages(tmp_path: Path) -> None:
    # Every process imports it first, also those that the check starts.
    (tmp_path / "sitecustomize.py").write_text(f"import sys\nsys.modules.update(dict.fromkeys({ABSENT!r}))\n")
    out = tmp_path / "gpu.json"
    command = [sys.executable, "-m", "bench.speed.gpu", "--recipes", *RECIPES, "--out", str(out)]
    environment = {**os.environ, "PYTHONPATH": str(tmp_path), "CUDA_VISIBLE_DEVICES": ""}
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, env=environment, timeout=500)
    assert done.returncode == 0, done.stderr[-4000:]
    record = records.read(out)
    assert record.settings["recipes"] == list(RECIPES)
    tests = record.summary["tests"]
    assert tests["failed"] == []
    assert tests["skipped"] == tests["run"] > 0
    assert any("/test_gpu.py::" in name for name in tests["left_out"])
    for name, found in record.summary["steps"].items():
        rows = (found["rollout_rows"], found["demonstration_rows"])
        if name == "tiny-sft":
            assert rows == (0, 2)
            assert found["reward"] is found["mismatch_kl"] is None
        else:
            assert rows == (2, 1), name
            # Half of one question's rollouts are right, and none of the other's.
            assert found["reward"] == 0.25
            assert found["mismatch_kl"] < 0.15
        assert found["gradient_norm"] > 0
        assert min(found["seconds"].values()) >= 0
        assert found["tokens_per_second"] > 0
        assert found["utilization"] is None
        assert 0 < found["peak_memory_gib"] < 8
    assert gpu.table(record) in done.stdout
    assert not gpu.failed(record.summary)


def test_a_failed_step_keeps_the_results_of_the_others() -> None:
    found = gpu.step("tiny", {**os.environ, "PYTHONPATH": str(ROOT)}, timeout_s=0.5)
    assert "took longer than" in found["error"]
    assert gpu.failed({"tests": {"exit_code": 0}, "steps": {"tiny": found}})
    assert gpu.failed({"tests": {"exit_code": 1}, "steps": {}})
    assert not gpu.failed({"tests": {"run": 0}, "steps": {}})
    assert "took longer" in gpu.table(records.Record("gpu", {}, {}, {"steps": {"tiny": found}}))
