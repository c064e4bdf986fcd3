"""Agreement and disagreement after a sync, with a real vLLM and tied embeddings."""

from pathlib import Path

import pytest
import torch

from hpt_core.errors import WeightSyncError
from hpt_core.rollout.base import Request, Sampling
from hpt_core.rollout.vllm import VLLMEngine
from hpt_core.training import sync
from hpt_core.training.batch import Tokens
from hpt_core.training.model import load_model
from hpt_core.training.policy import make_policy, named_weights

REQUESTS = [Request((1, *range(40, 44 + i)), seed=i) for i in range(8)]


@pytest.fixture
def moved(tiny_model: Path) -> torch.nn.Module:
    """The model after a little training."""
    model = make_policy(load_model(tiny_model), "float32")
    torch.manual_seed(0)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.01)
    return model


def agreement(engine: VLLMEngine, model: torch.nn.Module) -> sync.Agreement:
    rollouts = engine.generate(REQUESTS, Sampling(max_tokens=32))
    rows = [Tokens(q.prompt_ids, r.token_ids, 1.0, r.logprobs) for q, r in zip(REQUESTS, rollouts, strict=True)]
    found = sync.measure(model, rows, budget=200).agreement
    assert found is not None
    return found


def test_engine_agrees_after_a_sync(vllm_engine: VLLMEngine, moved: torch.nn.Module) -> None:
    vllm_engine.sync_weights(named_weights(moved))
    found = agreement(vllm_engine, moved)
    sync.check(found, "float32", "step 1")
    assert found.largest < 1e-4
    assert 0 <= found.kl < 1e-8


def test_stale_engine_is_caught(vllm_engine: VLLMEngine, moved: torch.nn.Module) -> None:
    found = agreement(vllm_engine, moved)
    with pytest.raises(WeightSyncError, match="step 7: the engine's logprobs differ"):
        sync.check(found, "float32", "step 7")
    assert found.kl > 0


def test_stale_tied_head_is_caught(vllm_engine: VLLMEngine, moved: torch.nn.Module) -> None:
    vllm_engine.sync_weights((n, t) for n, t in named_weights(moved) if n != "lm_head.weight")
    with pytest.raises(WeightSyncError):
        sync.check(agreement(vllm_engine, moved), "float32", "step 1")


def test_tied_weights_are_sent_under_both_names(tiny_model: Path) -> None:
    names = [name for name, _ in named_weights(make_policy(load_model(tiny_model), "float32"))]
    assert {"lm_head.weight", "model.embed_tokens.weight"} <= set(names)


def test_nan_is_a_disagreement() -> None:
    with pytest.raises(WeightSyncError):
        sync.check(sync.Agreement(float("nan"), float("nan"), float("nan")), "bfloat16", "step 1")


def test_probes_are_few_and_spread_out() -> None:
    assert sync.probes(128) == [0, 16, 32, 48, 64, 80, 96, 112]
    assert sync.probes(3) == [0, 1, 2]
