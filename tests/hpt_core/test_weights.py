"""Models with missing, NaN or infinite weights are refused before anything uses them."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from hpt_core.errors import ModelError
from hpt_core.models.folder import FolderModel
from hpt_core.models.materialize import ModelConfig, materialize
from hpt_core.rollout.scripted import Scripted
from hpt_core.rollout.transformers import Transformers
from hpt_core.rollout.vllm import VLLM
from hpt_core.training.model import load_model
from hpt_core.weights import require_weights

EMBEDDING, HEAD, NORM = "model.embed_tokens.weight", "lm_head.weight", "model.norm.weight"


def quiet(done: int, total: int, text: str) -> None:
    """No progress."""


USES: dict[str, Callable[[Path], object]] = {
    "check": require_weights,
    "model stage": lambda f: materialize(ModelConfig(source=FolderModel(path=f)), f.parent / "made", quiet),
    "training": load_model,
    "vllm": lambda f: VLLM().open(f, 64, "float32", 0),
    "transformers": lambda f: Transformers().open(f, 64, "float32", 0),
    "scripted": lambda f: Scripted().open(f, 64, "float32", 0),
}
"""Everything that loads a model's weights."""


def changed(tiny_model: Path, folder: Path, tensors: dict[str, torch.Tensor], **config: object) -> Path:
    shutil.copytree(tiny_model, folder)
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
    path = folder / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | config))
    return folder


def broken(tensor: torch.Tensor, value: float) -> torch.Tensor:
    copy = tensor.clone()
    copy.flatten()[-1] = value
    return copy


@pytest.mark.parametrize("use", USES)
def test_an_untied_model_without_its_output_head(tiny_model: Path, tmp_path: Path, use: str) -> None:
    tensors = load_file(tiny_model / "model.safetensors")
    assert HEAD not in tensors
    folder = changed(tiny_model, tmp_path / "model", tensors, tie_word_embeddings=False)
    with pytest.raises(ModelError, match=r"missing the weights lm_head\.weight \(1 in all\)\. Remedy: .*tie_word"):
        USES[use](folder)


@pytest.mark.parametrize("use", USES)
@pytest.mark.parametrize("value", [torch.nan, torch.inf, -torch.inf])
def test_a_weight_that_is_not_finite(tiny_model: Path, tmp_path: Path, use: str, value: float) -> None:
    tensors = load_file(tiny_model / "model.safetensors")
    folder = changed(tiny_model, tmp_path / "model", tensors | {NORM: broken(tensors[NORM], value)})
    with pytest.raises(ModelError, match=r"1 of 64 values of model\.norm\.weight are NaN or infinite\. Remedy: "):
        USES[use](folder)


@pytest.mark.parametrize(
    "name", [EMBEDDING, "model.layers.1.mlp.up_proj.weight", "model.layers.0.self_attn.k_proj.bias"]
)
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float8_e5m2])
def test_any_tensor_of_any_type_counts(tiny_model: Path, tmp_path: Path, name: str, dtype: torch.dtype) -> None:
    tensors = load_file(tiny_model / "model.safetensors")
    bad = broken(tensors[name].float(), torch.nan).to(dtype)
    folder = changed(tiny_model, tmp_path / "model", tensors | {name: bad})
    with pytest.raises(ModelError, match=f"1 of {bad.numel():,} values of {name} are NaN"):
        require_weights(folder)


@pytest.mark.parametrize("use", USES)
def test_weights_of_another_shape_than_the_configs(tiny_model: Path, tmp_path: Path, use: str) -> None:
    tensors = load_file(tiny_model / "model.safetensors")
    folder = changed(tiny_model, tmp_path / "model", tensors, intermediate_size=96)
    with pytest.raises(
        ModelError, match=r"down_proj\.weight has the shape \[64, 128\] in the weight files, but \[64, 96\]"
    ):
        USES[use](folder)


def test_pytorch_files_are_read_too(tiny_model: Path, tmp_path: Path) -> None:
    tensors = load_file(tiny_model / "model.safetensors")
    folder = Path(shutil.copytree(tiny_model, tmp_path / "model"))
    (folder / "model.safetensors").unlink()
    torch.save(tensors, folder / "pytorch_model.bin")
    require_weights(folder)
    torch.save(tensors | {NORM: broken(tensors[NORM], torch.nan)}, folder / "pytorch_model.bin")
    with pytest.raises(ModelError, match=r"model\.norm\.weight"):
        require_weights(folder)


def test_large_finite_values_and_integers_are_fine(tiny_model: Path, tmp_path: Path) -> None:
    tensors = load_file(tiny_model / "model.safetensors")
    large = torch.full_like(tensors[EMBEDDING], 3e38)
    require_weights(changed(tiny_model, tmp_path / "a", tensors | {EMBEDDING: large}))
    require_weights(changed(tiny_model, tmp_path / "b", tensors | {"counts": torch.tensor([1, 2])}))


def test_an_untied_model_with_its_output_head_is_fine(tiny_model: Path, tmp_path: Path) -> None:
    tensors = load_file(tiny_model / "model.safetensors")
    head = tensors | {HEAD: tensors[EMBEDDING].clone()}
    require_weights(changed(tiny_model, tmp_path / "model", head, tie_word_embeddings=False))


def test_weights_of_an_unknown_architecture_are_checked_for_finite_values_only(
    tiny_model: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    tensors = load_file(tiny_model / "model.safetensors")
    folder = changed(tiny_model, tmp_path / "model", tensors, model_type="not_known_here")
    require_weights(folder)
    assert "not checked whether weights are missing" in caplog.text
