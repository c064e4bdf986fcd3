"""One HPT step of a recipe, on a GPU."""

import json
import os
import subprocess
import sys

import pytest
import torch

from bench.machine import ROOT


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.parametrize("recipe", ["tiny", "tiny-lora"])
def test_both_signals_train_in_bfloat16_and_the_engine_agrees(recipe: str) -> None:
    """The agreement check passes at the second step only if the engine holds the new weights."""
    command = [sys.executable, "-m", "bench.speed.gpu.step", json.dumps({"name": recipe})]
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, env=dict(os.environ), timeout=300)
    assert done.returncode == 0, done.stderr[-4000:]
    found = json.loads(done.stdout.splitlines()[-1])
    assert found["card"] == torch.cuda.get_device_name()
    assert (found["rollout_rows"], found["demonstration_rows"]) == (2, 1)
    assert found["gradient_norm"] > 0
    assert found["mismatch_kl"] < 0.15
    assert 0 < found["peak_memory_gib"] < 4
