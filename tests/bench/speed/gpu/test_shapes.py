"""Models with the shapes of real models."""

from pathlib import Path

import pytest
import torch

from bench.speed.gpu.shapes import RECIPES, SHAPES, model_config, write_model
from hpt_core.model_folder import load_tokenizer, size
from hpt_core.models.scratch import byte_tokenizer
from hpt_core.training.config import LoraConfig


# What the model cards on the Hub say: 1.54 and 7.61 billion.
@pytest.mark.parametrize(("name", "parameters"), [("qwen2.5-1.5b", 1_543_714_304), ("qwen2.5-7b", 7_615_616_512)])
def test_shapes_have_the_real_models_sizes(name: str, parameters: int) -> None:
    from transformers import Qwen2ForCausalLM

    with torch.device("meta"):
        model = Qwen2ForCausalLM(model_config(SHAPES[name], byte_tokenizer(64)))
    assert sum(weight.numel() for weight in model.parameters()) == parameters


def test_a_model_has_more_rows_than_its_tokenizer_has_tokens(tmp_path: Path) -> None:
    write_model(SHAPES["tiny"], tmp_path, "cpu")
    tokenizer = load_tokenizer(tmp_path)
    assert len(tokenizer) < SHAPES["tiny"].vocabulary
    assert tokenizer.decode([len(tokenizer) + 1, tokenizer.eos_token_id], skip_special_tokens=True) == ""
    assert size(tmp_path).dtype == "bfloat16"
    assert torch.get_default_dtype() == torch.float32


@pytest.mark.parametrize("name", RECIPES)
def test_half_of_a_recipes_questions_and_rollouts_are_whole_numbers(name: str) -> None:
    recipe = RECIPES[name]
    assert recipe.shape in SHAPES
    assert recipe.questions % 2 == 0
    assert recipe.rollouts % 2 == 0
    assert recipe.lora is None or LoraConfig(**recipe.lora)
