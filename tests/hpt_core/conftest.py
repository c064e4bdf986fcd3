"""What takes seconds to start, and is shared by several tests: a vLLM engine, and the imports of worker programs."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from hpt_core.rollout.vllm import VLLM, VLLMEngine
from tests.warm import WORKERS, Warm

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")


@pytest.fixture(scope="session")
def warm() -> Iterator[Warm]:
    """Starts worker programs without their seconds of imports."""
    server = Warm(WORKERS)
    yield server
    server.close()


@pytest.fixture(scope="session")
def shared_engine(tiny_model: Path) -> Iterator[VLLMEngine]:
    """A vLLM engine of `tiny_model` in float32; use `vllm_engine`, which resets its weights."""
    engine = VLLM(kv_cache_gib=0.25).open(tiny_model, max_model_len=160, dtype="float32", seed=0)
    yield engine
    engine.close()


@pytest.fixture
def vllm_engine(shared_engine: VLLMEngine, tiny_model: Path) -> VLLMEngine:
    """A vLLM engine with the weights of `tiny_model`, whatever an earlier test synced."""
    from hpt_core.training.model import load_model
    from hpt_core.training.policy import make_policy, named_weights

    shared_engine.sync_weights(named_weights(make_policy(load_model(tiny_model), "float32")))
    return shared_engine
