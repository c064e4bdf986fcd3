"""The transformers engine, against the trainer's forward pass and against vLLM."""

import json
import shutil
from collections import Counter
from pathlib import Path

import pytest
import torch

from hpt_core.errors import EngineError, ModelError
from hpt_core.rollout.base import Request, Sampling
from hpt_core.rollout.transformers import Transformers, TransformersEngine, distribution_of
from hpt_core.rollout.vllm import VLLMEngine
from hpt_core.training.batch import Tokens
from hpt_core.training.model import load_model
from hpt_core.training.policy import make_policy, named_weights
from hpt_core.training.sync import measure

REQUESTS = [Request((1, *range(40, 43 + i)), seed=i) for i in range(6)]
SAMPLING = Sampling(max_tokens=24)


@pytest.fixture(scope="module")
def engine(tiny_model: Path) -> TransformersEngine:
    return Transformers().open(tiny_model, max_model_len=160, dtype="float32", seed=0)


def test_same_seeds_give_same_rollouts_alone_and_together(engine: TransformersEngine) -> None:
    together = engine.generate(REQUESTS, SAMPLING)
    assert [engine.generate([request], SAMPLING)[0] for request in REQUESTS] == together


def test_logprobs_agree_with_the_trainer(engine: TransformersEngine, tiny_model: Path) -> None:
    rollouts = engine.generate(REQUESTS, Sampling(max_tokens=24, temperature=0.8))
    rows = [Tokens(q.prompt_ids, r.token_ids, 0.8, r.logprobs) for q, r in zip(REQUESTS, rollouts, strict=True)]
    assert measure(make_policy(load_model(tiny_model), "float32"), rows, 200).largest < 1e-4


def test_greedy_equals_vllm(engine: TransformersEngine, vllm_engine: VLLMEngine) -> None:
    greedy = Sampling(max_tokens=24, temperature=0)
    ours, theirs = engine.generate(REQUESTS, greedy), vllm_engine.generate(REQUESTS, greedy)
    assert [r.token_ids for r in ours] == [r.token_ids for r in theirs]
    assert [r.text for r in ours] == [r.text for r in theirs]


def test_vllm_and_transformers_give_the_same_logprobs(vllm_engine: VLLMEngine, tiny_model: Path) -> None:
    """vLLM's rollouts scored token by token by the transformers model alone."""
    model = load_model(tiny_model)
    for request, rollout in zip(REQUESTS, vllm_engine.generate(REQUESTS, SAMPLING), strict=True):
        with torch.no_grad():
            logits = model(torch.tensor([[*request.prompt_ids, *rollout.token_ids]])).logits[0]
        rows = logits[len(request.prompt_ids) - 1 : -1].log_softmax(-1)
        expected = rows[torch.arange(len(rows)), torch.tensor(rollout.token_ids)]
        torch.testing.assert_close(torch.tensor(rollout.logprobs), expected, rtol=0, atol=1e-5)


def test_log_probabilities_that_are_not_finite_are_refused(tiny_model: Path) -> None:
    engine = Transformers().open(tiny_model, max_model_len=160, dtype="float32", seed=0)
    model = load_model(tiny_model)
    with torch.no_grad():
        model.get_input_embeddings().weight.fill_(torch.nan)
    engine.sync_weights(named_weights(make_policy(model, "float32")))
    with pytest.raises(ModelError, match=r"log-probabilities of .* are NaN or infinite in transformers"):
        engine.generate(REQUESTS, SAMPLING)


def test_a_model_that_transformers_refuses_is_named_with_the_cause(tiny_model: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(tiny_model, tmp_path / "model")
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(
        json.dumps(config | {"quantization_config": {"quant_method": "gptq", "bits": 4}})
    )
    with pytest.raises(EngineError, match=r"transformers cannot load .*ImportError: .*GPTQ"):
        Transformers().open(folder, max_model_len=160, dtype="float32", seed=0)


def test_sync_changes_the_responses(tiny_model: Path) -> None:
    engine = Transformers().open(tiny_model, max_model_len=160, dtype="float32", seed=0)
    before = engine.generate(REQUESTS, SAMPLING)
    model = load_model(tiny_model)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.mul_(1.5)
    engine.sync_weights(named_weights(make_policy(model, "float32")))
    assert engine.generate(REQUESTS, SAMPLING) != before


def test_distribution_follows_temperature_and_top_p() -> None:
    logits = torch.tensor([2.0, 1.0, 0.0, -1.0])
    torch.testing.assert_close(distribution_of(logits, Sampling()), logits.log_softmax(-1))
    torch.testing.assert_close(distribution_of(logits, Sampling(temperature=0.5)), (logits * 2).log_softmax(-1))
    nucleus = distribution_of(logits, Sampling(top_p=0.7)).exp()
    torch.testing.assert_close(nucleus, torch.tensor([*logits[:2].softmax(-1).tolist(), 0.0, 0.0]))
    assert distribution_of(logits, Sampling(temperature=0)).exp().tolist() == [1.0, 0.0, 0.0, 0.0]


def test_frequencies_match_the_distribution(engine: TransformersEngine, tiny_model: Path) -> None:
    draws = engine.generate([Request((1, 40), seed) for seed in range(400)], Sampling(max_tokens=1, temperature=0.3))
    with torch.no_grad():
        expected = (load_model(tiny_model)(torch.tensor([[1, 40]])).logits[0, -1] / 0.3).softmax(-1)
    counts = Counter(r.token_ids[0] for r in draws)
    top = int(expected.argmax())
    p = float(expected[top])
    assert abs(counts[top] / 400 - p) < 4 * (p * (1 - p) / 400) ** 0.5 + 1e-9
