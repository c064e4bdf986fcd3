"""The vLLM engine, with a real vLLM and a model with tied embeddings."""

import json
import shutil
from pathlib import Path

import pytest
import torch

from hpt_core.errors import EngineError, ModelError
from hpt_core.model_folder import load_tokenizer
from hpt_core.rollout._kernels import HEAD_SIZES
from hpt_core.rollout.base import Request, Sampling, StopRepetition, require_finite_logprobs
from hpt_core.rollout.vllm import VLLM, VLLMEngine
from hpt_core.training.batch import Tokens
from hpt_core.training.model import load_model
from hpt_core.training.policy import make_policy, named_weights
from hpt_core.training.sync import measure

REQUESTS = [Request((1, *range(40, 44 + i % 5)), seed=1000 + i) for i in range(24)]
SAMPLING = Sampling(max_tokens=48)


def test_version_names_engine(vllm_engine: VLLMEngine) -> None:
    assert vllm_engine.version.startswith("vllm 0.")


def test_same_seeds_give_same_rollouts(vllm_engine: VLLMEngine) -> None:
    assert vllm_engine.generate(REQUESTS, SAMPLING) == vllm_engine.generate(REQUESTS, SAMPLING)


def test_other_seeds_give_other_rollouts(vllm_engine: VLLMEngine) -> None:
    same_prompt = [Request((1, 40, 41), seed) for seed in range(4)]
    assert len({r.token_ids for r in vllm_engine.generate(same_prompt, SAMPLING)}) == 4


def test_results_keep_order_and_do_not_depend_on_other_requests(vllm_engine: VLLMEngine) -> None:
    together = vllm_engine.generate(REQUESTS, SAMPLING)
    for i in (0, 7, 23):
        assert vllm_engine.generate([REQUESTS[i]], SAMPLING)[0].token_ids == together[i].token_ids
    assert vllm_engine.generate(REQUESTS[::-1], SAMPLING)[::-1][3].token_ids == together[3].token_ids


def test_stop_keeps_eos_and_length_cuts(vllm_engine: VLLMEngine, tiny_model: Path) -> None:
    eos = load_tokenizer(tiny_model).eos_token_id
    many = [Request((1, 50 + i % 7), seed=i) for i in range(200)]
    rollouts = vllm_engine.generate(many, SAMPLING)
    stopped = [r for r in rollouts if r.finish_reason == "stop"]
    cut = [r for r in rollouts if r.finish_reason == "length"]
    assert stopped
    assert cut
    assert all(r.token_ids[-1] == eos and eos not in r.token_ids[:-1] for r in stopped)
    assert all(len(r.token_ids) == SAMPLING.max_tokens and eos not in r.token_ids for r in cut)
    assert all(len(r.logprobs) == len(r.token_ids) for r in rollouts)
    assert not any("<eos>" in r.text for r in rollouts)


@pytest.mark.parametrize("temperature", [1.0, 0.6])
def test_logprobs_are_of_the_sampled_distribution(
    vllm_engine: VLLMEngine, tiny_model: Path, temperature: float
) -> None:
    rollouts = vllm_engine.generate(REQUESTS, Sampling(max_tokens=48, temperature=temperature))
    rows = [Tokens(q.prompt_ids, r.token_ids, temperature, r.logprobs) for q, r in zip(REQUESTS, rollouts, strict=True)]
    agreement = measure(make_policy(load_model(tiny_model), "float32"), rows, budget=1000)
    assert agreement.tokens > 100
    assert agreement.largest < 1e-4


def test_top_p_one_token_is_certain(vllm_engine: VLLMEngine) -> None:
    rollouts = vllm_engine.generate(REQUESTS[:2], Sampling(max_tokens=8, top_p=1e-6))
    assert all(p == 0.0 for r in rollouts for p in r.logprobs)


def test_greedy_decoding_does_not_depend_on_the_seed(vllm_engine: VLLMEngine) -> None:
    greedy = vllm_engine.generate([Request((1, 40), 1), Request((1, 40), 2)], Sampling(max_tokens=8, temperature=0))
    assert greedy[0].token_ids == greedy[1].token_ids


def test_progress_counts_to_the_end(vllm_engine: VLLMEngine) -> None:
    seen: list[tuple[int, int]] = []
    vllm_engine.generate(REQUESTS, SAMPLING, lambda done, total: seen.append((done, total)))
    assert seen[-1] == (24, 24)
    assert [done for done, _ in seen] == sorted({done for done, _ in seen})


def test_text_is_the_tokens_decoded(vllm_engine: VLLMEngine, tiny_model: Path) -> None:
    tokenizer = load_tokenizer(tiny_model)
    for rollout in vllm_engine.generate(REQUESTS[:4], SAMPLING):
        assert rollout.text == tokenizer.decode(rollout.token_ids, skip_special_tokens=True)


def test_prompt_over_the_context_is_an_engine_error_and_leaves_it_usable(vllm_engine: VLLMEngine) -> None:
    with pytest.raises(EngineError, match="vLLM failed during generation"):
        vllm_engine.generate([REQUESTS[0], Request((1,) * 200, 0)], SAMPLING)
    assert len(vllm_engine.generate(REQUESTS[:2], SAMPLING)) == 2


def test_missing_folder_is_named(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="there is no model folder"):
        VLLM().open(tmp_path / "none", max_model_len=64, dtype="float32", seed=0)


def test_head_sizes_are_those_of_vllm(vllm_engine: VLLMEngine) -> None:
    from vllm.v1.attention.backends.cpu_attn import CPUAttentionBackend

    assert list(HEAD_SIZES) == CPUAttentionBackend.get_supported_head_sizes()


@pytest.mark.parametrize(
    ("config", "cause"),
    [
        ({"quantization_config": {"quant_method": "no_such_method"}}, "no_such_method"),
        (
            {"quantization_config": {"quant_method": "awq", "bits": 4, "group_size": 128, "zero_point": True}},
            'float32 is not supported for quantization method .*Remedy: set dtype = "bfloat16"',
        ),
        (
            {"quantization_config": {"quant_method": "fp8", "activation_scheme": "dynamic"}},
            'float32 is not supported for quantization method .*Remedy: set dtype = "bfloat16"',
        ),
        ({"model_type": "own", "auto_map": {"AutoConfig": "own.Own"}}, "custom code|trust_remote_code"),
        ({"architectures": ["NoSuchForCausalLM"]}, "NoSuchForCausalLM"),
    ],
)
def test_a_model_that_vllm_refuses_is_named_with_the_whole_cause(
    vllm_engine: VLLMEngine, tiny_model: Path, tmp_path: Path, config: dict[str, object], cause: str
) -> None:
    folder = shutil.copytree(tiny_model, tmp_path / "model")
    path = folder / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | config))
    with pytest.raises(EngineError, match=cause) as caught:
        VLLM().open(folder, max_model_len=64, dtype="float32", seed=0)
    assert "1 validation error" not in str(caught.value)


def test_log_probabilities_that_are_not_finite_are_refused(vllm_engine: VLLMEngine, tiny_model: Path) -> None:
    model = load_model(tiny_model)
    with torch.no_grad():
        model.get_input_embeddings().weight.fill_(torch.nan)
    vllm_engine.sync_weights(named_weights(make_policy(model, "float32")))
    with pytest.raises(ModelError, match=r"log-probabilities of .* are NaN or infinite in vllm"):
        require_finite_logprobs(vllm_engine, load_tokenizer(tiny_model), tiny_model, 160)


def test_stream_takes_only_requests_that_it_can_use_and_cancels_the_rest(vllm_engine: VLLMEngine) -> None:
    taken = []

    def draws():
        for i in range(10_000):
            taken.append(i)
            yield Request((1, 40 + i % 5), seed=i), Sampling(max_tokens=2 + i % 7)

    stream = vllm_engine.stream(draws())
    found = dict(next(stream) for _ in range(20))
    assert all(len(rollout.token_ids) <= 2 + i % 7 for i, rollout in found.items())
    stream.close()
    assert len(taken) < 1100
    assert not vllm_engine._engine.has_unfinished_requests()
    assert len(vllm_engine.generate(REQUESTS, SAMPLING)) == len(REQUESTS)


def test_the_next_request_may_depend_on_finished_ones(vllm_engine: VLLMEngine) -> None:
    found: list[int] = []

    def draws():
        for i in range(600):
            yield Request((1, 40), seed=i), Sampling(max_tokens=1)
        assert found  # some have finished before the last are asked for
        yield Request((1, 41), seed=0), Sampling(max_tokens=1)

    for index, _ in vllm_engine.stream(draws()):
        found.append(index)
    assert sorted(found) == list(range(601))


def test_runaway_repetition_is_ended_and_recorded(vllm_engine: VLLMEngine) -> None:
    greedy = Sampling(max_tokens=100, temperature=0)
    (whole,) = vllm_engine.generate([Request((1, 40), 1)], greedy)
    stop = StopRepetition(times=3, shortest=1, longest=8)
    expected = next((n for n in range(1, 100) if stop.holds(whole.token_ids[:n])), None)
    assert expected is not None, "the model with random weights was expected to repeat itself"
    (cut,) = vllm_engine.generate([Request((1, 40), 1)], greedy.model_copy(update={"stop_repetition": stop}))
    assert (cut.finish_reason, cut.token_ids) == ("repetition", whole.token_ids[:expected])
