"""The tiny model, tokenizer, prompts and rewards of bench.parity.gradients."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torch import nn

GROUPS, ROLLOUTS, LENGTH, PROMPT = 4, 8, 12, 5
"""Questions, rollouts of each, longest response in tokens, words of a prompt."""
WORDS = 40


def model() -> "nn.Module":
    """A random Qwen2 of two layers, float32."""
    import torch
    from transformers import Qwen2Config, Qwen2ForCausalLM

    torch.manual_seed(0)
    config = Qwen2Config(
        vocab_size=WORDS + 3,
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=64,
        bos_token_id=1,
        eos_token_id=2,
        pad_token_id=0,
        attn_implementation="eager",
    )
    made: nn.Module = Qwen2ForCausalLM(config)
    move(made, 0.1, seed=1)
    return made


def move(given: "nn.Module", scale: float, seed: int) -> None:
    """Add noise to every weight."""
    import torch

    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in given.parameters():
            parameter.add_(torch.randn(parameter.shape, generator=generator), alpha=scale)


def doubled(given: "nn.Module") -> "nn.Module":
    """A new model with the same weights in float64. TRL patched the forward method of `given`."""
    copy = model()
    copy.load_state_dict(given.state_dict())
    return copy.double()


def tokenizer() -> Any:
    """A tokenizer with one token per word."""
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    words = {"<pad>": 0, "<s>": 1, "</s>": 2, **{f"w{i}": i + 3 for i in range(WORDS)}}
    made = Tokenizer(models.WordLevel(words, unk_token="w0"))
    made.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    return PreTrainedTokenizerFast(
        tokenizer_object=made, pad_token="<pad>", bos_token="<s>", eos_token="</s>", padding_side="left"
    )


def rewards() -> list[float]:
    """Rewards of groups with one, half, all but one and all of their rollouts correct."""
    right = (1, ROLLOUTS // 2, ROLLOUTS - 1, ROLLOUTS)
    return [float(i < right[g % len(right)]) for g in range(GROUPS) for i in range(ROLLOUTS)]


def prompts() -> list[str]:
    """One prompt per group, of two lengths."""
    return [" ".join(f"w{(7 * g + 3 * i) % WORDS}" for i in range(PROMPT - g % 2)) for g in range(GROUPS)]
