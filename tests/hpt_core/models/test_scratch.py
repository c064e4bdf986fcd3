"""Scratch models: complete, deterministic, and loaded by transformers and vLLM."""

from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from hpt_core.files import sha256_file
from hpt_core.models.base import KnownModel
from hpt_core.models.scratch import ScratchModel

SMALL = ScratchModel(layers=1, hidden_size=64, heads=2, intermediate_size=64, max_positions=64, seed=3)
TEXTS = ["m13 m24 42718\n", "\\boxed{1}", "two  spaces\n\n and a tab\t", "Zoë’s 数学", ""]


def make(folder: Path, config: ScratchModel = SMALL) -> Path:
    config.materialize(folder, lambda done, total, text: None)
    return folder


def hashes(folder: Path) -> dict[str, str]:
    return {file.name: sha256_file(file) for file in folder.iterdir()}


def test_same_config_gives_the_same_bytes(tmp_path: Path) -> None:
    assert hashes(make(tmp_path / "a")) == hashes(make(tmp_path / "b"))


def test_seed_changes_only_the_weights(tmp_path: Path) -> None:
    first = hashes(make(tmp_path / "a"))
    second = hashes(make(tmp_path / "b", SMALL.model_copy(update={"seed": 4})))
    assert {name for name in first if first[name] != second[name]} == {"model.safetensors"}


def test_random_state_does_not_change(tmp_path: Path) -> None:
    import torch

    before = torch.random.get_rng_state()
    make(tmp_path / "a")
    assert torch.equal(before, torch.random.get_rng_state())


@pytest.mark.parametrize("changes", [{}, {"tie_embeddings": False, "layers": 2, "intermediate_size": 48}])
def test_size_and_shape_are_known_before_it_is_made(tmp_path: Path, changes: dict[str, Any]) -> None:
    config = SMALL.model_copy(update=changes)
    known, made = config.known(), KnownModel.of_folder(make(tmp_path / "a", config))
    assert (known.context, known.parameters) == (made.context, made.parameters)
    assert dict(known.config).items() <= dict(made.config).items()


@pytest.mark.parametrize("text", TEXTS)
def test_tokenizer_is_lossless_and_puts_bos_first(tmp_path: Path, text: str) -> None:
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(make(tmp_path / "a"))
    ids = tokenizer(text)["input_ids"]
    assert ids[0] == tokenizer.bos_token_id
    assert len(ids) == 1 + len(text.encode())
    assert tokenizer.decode(ids, skip_special_tokens=True) == text


def test_both_prompts_work(tmp_path: Path) -> None:
    from transformers import AutoTokenizer

    from hpt_core.prompts.chat import ChatTemplate as Chat
    from hpt_core.prompts.plain import PlainText as Plain

    tokenizer = AutoTokenizer.from_pretrained(make(tmp_path / "a"))
    for config in (Chat(), Plain(template="{question}\n", instruction="")):
        prompt = config.bind(tokenizer)
        ids = prompt.encode("m13 42718")
        assert ids.count(tokenizer.bos_token_id) == 1 and ids[0] == tokenizer.bos_token_id
        demonstration = prompt.encode_demonstration("m13 42718", "m13 68318\n\\boxed{68318}")
        assert demonstration.count(tokenizer.eos_token_id) == 1 and demonstration[-1] == tokenizer.eos_token_id


def test_transformers_loads_it_as_configured(tmp_path: Path) -> None:
    import torch
    from transformers import AutoModelForCausalLM

    model = AutoModelForCausalLM.from_pretrained(make(tmp_path / "a"))
    assert model.config.model_type == "qwen2"
    assert model.config.max_position_embeddings == 64
    assert model.dtype == torch.float32
    assert model.lm_head.weight.data_ptr() == model.model.embed_tokens.weight.data_ptr()


def test_heads_must_fit() -> None:
    with pytest.raises(ValidationError, match="hidden_size 128 is not an even multiple of heads 3"):
        ScratchModel(heads=3)


@pytest.mark.slow
def test_vllm_samples_what_transformers_computes(tmp_path: Path) -> None:
    import torch
    from transformers import AutoModelForCausalLM

    from hpt_core.rollout.base import Request, Sampling
    from hpt_core.rollout.vllm import VLLM as Vllm

    folder = make(tmp_path / "a")
    engine = Vllm().open(folder, 48, "float32", seed=0)
    try:
        rollout = engine.generate([Request((1, 20, 21, 22), seed=5)], Sampling(max_tokens=16))[0]
    finally:
        engine.close()
    model = AutoModelForCausalLM.from_pretrained(folder)
    ids = torch.tensor([[1, 20, 21, 22, *rollout.token_ids]])
    with torch.no_grad():
        logprobs = model(ids).logits[0].log_softmax(-1)
    own = logprobs[3:-1].gather(-1, ids[0, 4:, None])[:, 0]
    assert torch.allclose(own, torch.tensor(rollout.logprobs), atol=1e-4)
