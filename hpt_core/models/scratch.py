"""A small Qwen2 model with random weights and a byte tokenizer, for runs without any download."""

from pathlib import Path
from typing import Any

from pydantic import Field, model_validator

from hpt_core.models.base import KnownModel, ModelSourceConfig
from hpt_core.worker import Progress

SPECIAL = ("<pad>", "<bos>", "<eos>")

CHAT_TEMPLATE = (
    "{{ bos_token }}"
    "{% for message in messages %}{{ message['role'] + ': ' + message['content'] + '\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ 'assistant: ' }}{% endif %}"
)


class ScratchModel(ModelSourceConfig):
    """Random weights of the Qwen2 architecture. Every byte is a token, so an ASCII character is one token."""

    layers: int = Field(3, ge=1)
    """Transformer blocks."""
    hidden_size: int = Field(128, ge=8)
    """Width of the residual stream."""
    intermediate_size: int = Field(384, ge=8)
    """Width of the feed-forward layers."""
    heads: int = Field(4, ge=1)
    """Attention heads. hidden_size must be an even multiple of it, and vLLM needs at least 32 channels per head."""
    tie_embeddings: bool = True
    """Whether the output layer shares the embedding's weights."""
    max_positions: int = Field(256, ge=16)
    """Context length in tokens (bytes)."""
    rope_theta: float = Field(10_000.0, gt=0)
    """Base of the rotary embedding."""
    initializer_range: float = Field(0.02, gt=0)
    """Standard deviation of the random weights."""
    seed: int = 0
    """Seed of the random weights."""

    @model_validator(mode="after")
    def _heads_fit(self) -> "ScratchModel":
        if self.hidden_size % (2 * self.heads):
            raise ValueError(
                f"hidden_size {self.hidden_size} is not an even multiple of heads {self.heads}; change one of the two"
            )
        return self

    def known(self) -> KnownModel:
        """Context length, number of weights and shape: the fields decide them."""
        width, inner = self.hidden_size, self.intermediate_size
        # Four projections, of which three have biases; three layers of the feed-forward network; two norms.
        block = 4 * width * width + 3 * width + 3 * width * inner + 2 * width
        embeddings = (256 + len(SPECIAL)) * width * (1 if self.tie_embeddings else 2)
        shape = {
            "hidden_size": width,
            "intermediate_size": inner,
            "num_hidden_layers": self.layers,
            "num_attention_heads": self.heads,
        }
        return KnownModel(self.max_positions, embeddings + self.layers * block + width, shape)

    def materialize(self, folder: Path, progress: Progress) -> None:
        """Write a complete model folder; the same config gives the same bytes."""
        progress(0, 1, "random weights")
        folder.mkdir(parents=True, exist_ok=True)
        tokenizer = byte_tokenizer(self.max_positions)
        tokenizer.save_pretrained(folder)
        self._save_model(folder, tokenizer)
        progress(1, 1, f"{folder.name}: {sum(f.stat().st_size for f in folder.iterdir()) / 1e6:.1f} MB")

    def _save_model(self, folder: Path, tokenizer: Any) -> None:
        import torch
        from transformers import Qwen2Config, Qwen2ForCausalLM

        config = Qwen2Config(
            vocab_size=len(tokenizer),
            hidden_size=self.hidden_size,
            intermediate_size=self.intermediate_size,
            num_hidden_layers=self.layers,
            num_attention_heads=self.heads,
            num_key_value_heads=self.heads,
            max_position_embeddings=self.max_positions,
            tie_word_embeddings=self.tie_embeddings,
            initializer_range=self.initializer_range,
            rope_parameters={"rope_type": "default", "rope_theta": self.rope_theta},
            bos_token_id=tokenizer.bos_token_id,
            eos_token_id=tokenizer.eos_token_id,
            pad_token_id=tokenizer.pad_token_id,
            dtype="float32",
        )
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(self.seed)
            model = Qwen2ForCausalLM(config)
        model.save_pretrained(folder)


def byte_tokenizer(max_length: int) -> Any:
    """A transformers tokenizer with one token for each of the 256 bytes. It puts <bos> first.

    It uses the class of Qwen2's tokenizer, without merges, because AutoTokenizer converts any other class to that one.
    """
    from tokenizers import pre_tokenizers, processors
    from transformers import Qwen2Tokenizer

    vocabulary = {token: i for i, token in enumerate([*SPECIAL, *sorted(pre_tokenizers.ByteLevel.alphabet())])}
    pad, bos, eos = SPECIAL
    tokenizer = Qwen2Tokenizer(
        vocab=vocabulary,
        merges=[],
        unk_token=None,
        pad_token=pad,
        bos_token=bos,
        eos_token=eos,
        model_max_length=max_length,
        chat_template=CHAT_TEMPLATE,
    )
    tokenizer.backend_tokenizer.post_processor = processors.TemplateProcessing(
        single=f"{bos} $A", pair=f"{bos} $A $B", special_tokens=[(bos, vocabulary[bos])]
    )
    return tokenizer
