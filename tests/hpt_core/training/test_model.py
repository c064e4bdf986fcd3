"""Models load from every complete model folder."""

import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from hpt_core.errors import ModelError
from hpt_core.model_folder import read_config, size
from hpt_core.training.model import load_model


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
