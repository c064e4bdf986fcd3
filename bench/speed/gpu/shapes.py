"""Models with random weights in the shapes of real models, and recipes for one step on a GPU of 80 GB."""

from pathlib import Path
from typing import Any, NamedTuple

from hpt_core.models.scratch import byte_tokenizer

POSITIONS = 4096
"""Context length. The real models allow more, but unused positions cost nothing."""


class Shape(NamedTuple):
    """The sizes of a Qwen2 model, from its config.json on the Hub."""

    hidden: int
    layers: int
    heads: int
    kv_heads: int
    intermediate: int
    vocabulary: int
    """Rows of the embedding; the byte tokenizer uses only some of them."""
    tied: bool


class Recipe(NamedTuple):
    """The settings of a step. With rollouts, half of the questions train on them and half on demonstrations."""

    shape: str
    questions: int
    rollouts: int
    """Rollouts per question; 0 trains every question on its demonstration, by SFT."""
    max_tokens: int
    """Maximum length of a rollout. A model with random weights almost always reaches it."""
    demonstration: int
    """Minimum length of a demonstration in tokens."""
    micro_batch_tokens: int
    gradient_checkpointing: bool = False
    lora: dict[str, Any] | None = None
    """LoraConfig; None trains every weight, which takes 16 bytes per weight."""


SHAPES = {
    "tiny": Shape(64, 2, 4, 2, 128, 512, tied=True),
    "tiny-lora": Shape(64, 2, 4, 2, 128, 512, tied=False),
    "qwen2.5-1.5b": Shape(1536, 28, 12, 2, 8960, 151_936, tied=True),
    "qwen2.5-7b": Shape(3584, 28, 28, 4, 18_944, 152_064, tied=False),
}
ATTENTION = {"rank": 16, "alpha": 32.0, "targets": ["q_proj", "k_proj", "v_proj", "o_proj"]}
RECIPES = {
    "tiny": Recipe("tiny", 2, 2, 4, 32, 512),
    "tiny-lora": Recipe("tiny-lora", 2, 2, 4, 32, 512, gradient_checkpointing=True, lora=ATTENTION),
    "tiny-sft": Recipe("tiny", 2, 0, 4, 32, 512),
    "qwen2.5-1.5b": Recipe("qwen2.5-1.5b", 8, 4, 16, 1024, 4096),
    # An update of a realistic size, with the micro-batches of configs/base/hpt.toml.
    "qwen2.5-1.5b-sft": Recipe("qwen2.5-1.5b", 64, 0, 16, 1024, 16_384, gradient_checkpointing=True),
    # Training all 7.6e9 weights takes 122 GB with gradients and moments. Adapters fit: 30 GB of float32 weights and 15
    # GB of the engine. Without checkpointing, the backward pass would hold a bfloat16 copy of every weight.
    "qwen2.5-7b": Recipe("qwen2.5-7b", 8, 4, 16, 1024, 4096, gradient_checkpointing=True, lora=ATTENTION),
}


def model_config(shape: Shape, tokenizer: Any) -> Any:
    """The transformers config of a shape."""
    from transformers import Qwen2Config

    return Qwen2Config(
        vocab_size=shape.vocabulary,
        hidden_size=shape.hidden,
        intermediate_size=shape.intermediate,
        num_hidden_layers=shape.layers,
        num_attention_heads=shape.heads,
        num_key_value_heads=shape.kv_heads,
        max_position_embeddings=POSITIONS,
        tie_word_embeddings=shape.tied,
        rope_parameters={"rope_type": "default", "rope_theta": 1_000_000.0},
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )


def write_model(shape: Shape, folder: Path, device: str) -> None:
    """Write a model folder in bfloat16 with byte tokens. The random weights are created on `device`."""
    import torch
    from transformers import Qwen2ForCausalLM

    tokenizer = byte_tokenizer(POSITIONS)
    tokenizer.save_pretrained(folder)
    torch.manual_seed(0)
    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.bfloat16)
    try:
        with torch.device(device):
            model = Qwen2ForCausalLM(model_config(shape, tokenizer))
    finally:
        torch.set_default_dtype(before)
    model.save_pretrained(folder)
