"""Only adapters train, and they are merged into the exported model."""

from pathlib import Path

import pytest
import torch
from torch.testing import assert_close

from hpt_core.errors import ConfigError
from hpt_core.training.batch import Tokens, collate
from hpt_core.training.config import LoraConfig
from hpt_core.training.lora import add_adapters
from hpt_core.training.model import export_model, load_model
from hpt_core.training.policy import forward, make_policy, named_weights

BATCH = collate([Tokens((1, 40, 41), (50, 51, 2)), Tokens((1, 60), (61, 2))])


@pytest.fixture
def adapted(tiny_model: Path) -> torch.nn.Module:
    """A policy whose adapters are no longer zero."""
    policy = make_policy(add_adapters(load_model(tiny_model), LoraConfig(rank=3, alpha=6.0)), "float32")
    torch.manual_seed(0)
    with torch.no_grad():
        for name, parameter in policy.named_parameters():
            if "lora_" in name:
                parameter.normal_(std=0.2)
    return policy


def test_only_adapters_train(adapted: torch.nn.Module) -> None:
    forward(adapted, BATCH).logprobs.sum().backward()
    trained = {name for name, p in adapted.named_parameters() if p.grad is not None}
    assert trained
    assert all("lora_" in name for name in trained)
    assert trained == {name for name, p in adapted.named_parameters() if p.requires_grad}


def test_merged_weights_have_the_models_names_and_results(adapted: torch.nn.Module, tiny_model: Path) -> None:
    plain = load_model(tiny_model)
    assert {name for name, _ in named_weights(adapted)} == set(plain.state_dict())
    before = forward(make_policy(plain, "float32"), BATCH).logprobs
    plain.load_state_dict(dict(named_weights(adapted)))
    found = forward(make_policy(plain, "float32"), BATCH).logprobs
    assert (found - before).abs().max() > 0.01
    assert_close(found, forward(adapted, BATCH).logprobs, rtol=0, atol=1e-5)


def test_export_is_a_plain_model_folder(adapted: torch.nn.Module, tiny_model: Path, tmp_path: Path) -> None:
    export_model(adapted, tiny_model, tmp_path / "model", "float32")
    assert {p.name for p in (tmp_path / "model").iterdir()} == {p.name for p in tiny_model.iterdir()}
    loaded = make_policy(load_model(tmp_path / "model"), "float32")
    assert_close(forward(loaded, BATCH).logprobs, forward(adapted, BATCH).logprobs, rtol=0, atol=1e-5)


@pytest.mark.parametrize("target", ["lm_head", "embed_tokens"])
def test_head_and_embedding_cannot_have_an_adapter(tiny_model: Path, target: str) -> None:
    with pytest.raises(ConfigError, match="includes the embedding or the output head"):
        add_adapters(load_model(tiny_model), LoraConfig(targets=("q_proj", target)))


def test_targets_that_do_not_exist_are_named(tiny_model: Path) -> None:
    with pytest.raises(ConfigError, match=r"lora.targets does not match.*nowhere.*Remedy: name linear layers"):
        add_adapters(load_model(tiny_model), LoraConfig(targets=("nowhere",)))
