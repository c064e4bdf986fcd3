"""Training on GPUs: bfloat16 over float32 masters, an engine that sleeps and wakes, NCCL."""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
import torch

pytestmark = [pytest.mark.gpu, pytest.mark.slow]


def needs(gpus: int) -> pytest.MarkDecorator:
    found = torch.cuda.device_count()
    return pytest.mark.skipif(found < gpus, reason=f"needs {gpus} CUDA device(s), {found} found")


@needs(1)
def test_engine_sleeps_wakes_and_agrees_in_bfloat16(
    make_spec: Any, train: Callable[[Path], list[dict[str, Any]]], tmp_path: Path
) -> None:
    """The agreement check passes at each step only if the woken engine holds the new weights."""
    train(make_spec(tmp_path, steps=4, dtype="bfloat16", engine={"name": "vllm", "gpu_memory_utilization": 0.3}))
    summary = json.loads((tmp_path / "output" / "summary.json").read_text())
    assert summary["steps"] == 4
    assert 0 < summary["max_logprob_disagreement"] < 2.5
    log = pq.read_table(tmp_path / "output" / "log.parquet").to_pylist()
    assert all(row["gradient_norm"] > 0 for row in log)
    assert all(row["mismatch_kl"] < 0.15 for row in log)


@needs(2)
def test_two_gpus_train_by_nccl(make_spec: Any, tmp_path: Path) -> None:
    spec = make_spec(tmp_path, steps=2, dtype="bfloat16", engine={"name": "vllm", "gpu_memory_utilization": 0.3})
    launch = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    done = subprocess.run(
        [*launch, "-m", "hpt_core.train", str(spec)], capture_output=True, text=True, env=dict(os.environ), timeout=500
    )
    assert done.returncode == 0, done.stderr[-4000:]
    assert json.loads((tmp_path / "output" / "summary.json").read_text())["ranks"] == 2
