"""Models load from every complete model folder, and every model that trains can be exported."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from hpt_core.errors import ModelError
from hpt_core.model_folder import read_config, read_object, size
from hpt_core.training.model import check_export, export_model, load_model
from hpt_core.training.policy import make_policy, require_finite_logprobs


@pytest.fixture
def pytorch_model(tiny_model: Path, tmp_path: Path) -> Path:
    """`tiny_model` with PyTorch's own weight file."""
    folder = shutil.copytree(tiny_model, tmp_path / "model")
    torch.save(load_file(folder / "model.safetensors"), folder / "pytorch_model.bin")
    (folder / "model.safetensors").unlink()
    return folder


def test_pytorch_weights_are_loaded_too(pytorch_model: Path, tiny_model: Path) -> None:
    assert read_config(pytorch_model) == read_config(tiny_model)
    assert size(pytorch_model).parameters == size(tiny_model).parameters
    expected = load_model(tiny_model).state_dict()
    found = load_model(pytorch_model).state_dict()
    assert found.keys() == expected.keys()
    assert all(torch.equal(tensor, expected[name]) for name, tensor in found.items())


@pytest.mark.parametrize("content", [b"", b"damaged"])
def test_damaged_pytorch_weights_are_named(pytorch_model: Path, content: bytes) -> None:
    (pytorch_model / "pytorch_model.bin").write_bytes(content)
    for read in (size, load_model):
        with pytest.raises(ModelError, match=r"Remedy: fetch the model again"):
            read(pytorch_model)


GENERATION: list[dict[str, Any]] = [
    {"temperature": 0.6, "top_p": 0.95},
    {"do_sample": False, "temperature": 0.7, "top_p": 0.8, "top_k": 20, "repetition_penalty": 1.05},
    {"do_sample": False, "min_p": 0.1},
    {"typical_p": 0.9, "epsilon_cutoff": 0.1, "eta_cutoff": 0.1},
    {"pad_token_id": -1},
    {"length_penalty": 0.8},
    {"early_stopping": True},
    {"num_return_sequences": 2},
    {"use_cache": False, "cache_implementation": "static"},
    {"an_unknown_setting": [1, 2]},
]
"""Generation settings of published models, which transformers reads but refuses to write."""


@pytest.mark.parametrize("settings", GENERATION, ids=lambda settings: "+".join(settings))
@pytest.mark.parametrize("where", ["generation_config.json", "config.json", "config.json alone"])
def test_generation_settings_are_carried_over(
    tiny_model: Path, tmp_path: Path, settings: dict[str, Any], where: str
) -> None:
    source = Path(shutil.copytree(tiny_model, tmp_path / "source"))
    where, _, alone = where.partition(" ")
    changed = json.loads((source / where).read_text()) | settings
    # Spaces that no library would write show that the file is copied.
    (source / where).write_text(json.dumps(changed, indent=7))
    if alone:
        (source / "generation_config.json").unlink()
    for name in ("README.md", "additional_chat_templates/tool.jinja"):
        (source / name).parent.mkdir(exist_ok=True)
        (source / name).write_text("kept")
    policy = make_policy(load_model(source), "float32")
    check_export(policy, source, "float32")
    export_model(policy, source, tmp_path / "model", "float32")
    exported = tmp_path / "model"
    files = {file.relative_to(source) for file in source.rglob("*")}
    assert {file.relative_to(exported) for file in exported.rglob("*")} == files
    for file in files:
        if (source / file).is_file() and file.name not in ("config.json", "model.safetensors"):
            assert (exported / file).read_bytes() == (source / file).read_bytes(), file
    assert read_config(exported) == read_config(source)
    found, expected = load_model(exported).state_dict(), policy.model.state_dict()
    assert all(torch.equal(tensor, expected[name]) for name, tensor in found.items())


def test_an_export_has_the_weights_and_config_that_transformers_writes(tiny_model: Path, tmp_path: Path) -> None:
    policy = make_policy(load_model(tiny_model), "float32")
    export_model(policy, tiny_model, tmp_path / "ours", "float32")
    policy.model.save_pretrained(tmp_path / "theirs")
    ours, theirs = (read_object(tmp_path / name / "config.json") for name in ("ours", "theirs"))
    assert ours == theirs
    name = "model.safetensors"
    assert (tmp_path / "ours" / name).read_bytes() == (tmp_path / "theirs" / name).read_bytes()


def test_a_weight_in_a_larger_buffer_is_exported_alone(tiny_model: Path, tmp_path: Path) -> None:
    """As FSDP2 gathers them."""
    policy = make_policy(load_model(tiny_model), "float32")
    norm = policy.model.get_decoder().norm
    expected = norm.weight.detach().clone()
    norm.weight = torch.nn.Parameter(torch.cat([expected, expected])[: len(expected)])
    export_model(policy, tiny_model, tmp_path / "model", "float32")
    assert torch.equal(load_file(tmp_path / "model" / "model.safetensors")["model.norm.weight"], expected)


def test_a_folder_that_could_not_be_exported_is_refused_before_training(tiny_model: Path, tmp_path: Path) -> None:
    source = Path(shutil.copytree(tiny_model, tmp_path / "source"))
    policy = make_policy(load_model(source), "float32")
    (source / "config.json").write_text("{")
    with pytest.raises(ModelError, match=r"could not be exported after training: .*Remedy: correct its config.json"):
        check_export(policy, source, "float32")


def test_log_probabilities_that_overflow_are_refused(tiny_model: Path) -> None:
    model = load_model(tiny_model)
    require_finite_logprobs(make_policy(model, "float32"), tiny_model, [1, 40, 41])
    with torch.no_grad():
        model.get_input_embeddings().weight.fill_(torch.nan)
    with pytest.raises(ModelError, match=r"log-probabilities of .* are NaN or infinite"):
        require_finite_logprobs(make_policy(model, "float32"), tiny_model, [1])


def test_a_quantized_model_cannot_be_trained(tiny_model: Path, tmp_path: Path) -> None:
    source = Path(shutil.copytree(tiny_model, tmp_path / "source"))
    config = json.loads((source / "config.json").read_text())
    (source / "config.json").write_text(json.dumps(config | {"quantization_config": {"quant_method": "gptq"}}))
    with pytest.raises(ModelError, match=r"is quantized \(gptq\).*Remedy: start from the original model"):
        load_model(source)


def test_a_model_with_code_of_its_own_names_the_cause(tiny_model: Path, tmp_path: Path) -> None:
    source = Path(shutil.copytree(tiny_model, tmp_path / "source"))
    config = json.loads((source / "config.json").read_text())
    own = {"model_type": "own", "auto_map": {"AutoConfig": "own.Own", "AutoModelForCausalLM": "own.OwnModel"}}
    (source / "config.json").write_text(json.dumps(config | own))
    with pytest.raises(ModelError, match=r"custom code.*Remedy: .*choose one that transformers supports"):
        load_model(source)
