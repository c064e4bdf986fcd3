"""Attention for packed rows: each row attends to its prompt and itself, and rows of one question share the prompt.

The function is registered with transformers, for models with full causal attention. Without a layout it calls
transformers' own scaled dot product attention.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from itertools import accumulate
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torch import Tensor, nn

NAME = "hpt_packed"
"""The function's name in transformers."""
LAYOUT = "packed_layout"
"""Keyword argument that passes a `Layout` through the model to its attention."""


@dataclass(frozen=True, slots=True)
class Span:
    """A prompt, followed directly by the continuations that share it."""

    start: int
    """Position of the prompt's first token."""
    prompt: int
    """Number of prompt tokens."""
    continuations: tuple[int, ...]
    """Number of tokens of each continuation that pass through the model; may be 0."""

    @property
    def starts(self) -> tuple[int, ...]:
        """Position of each continuation's first token, followed by the end of the span."""
        return tuple(accumulate(self.continuations, initial=self.start + self.prompt))


@dataclass(frozen=True, slots=True)
class Layout:
    """How a packed sequence is divided into spans."""

    spans: tuple[Span, ...]


def supports_packing(model: "nn.Module") -> bool:
    """Whether the model uses transformers' attention interface and every layer has full causal attention."""
    config: Any = model.config
    kinds = set(getattr(config, "layer_types", None) or ("full_attention",))
    windowed = getattr(config, "sliding_window", None) is not None and getattr(config, "use_sliding_window", True)
    return kinds == {"full_attention"} and not windowed and bool(getattr(model, "_supports_attention_backend", False))


def use_packed_attention(model: "nn.Module") -> None:
    """Make `attend` the attention function of `model`, a transformers model that supports packing."""
    _register()
    model.set_attn_implementation(NAME)  # type: ignore[operator]


@cache
def _register() -> None:
    from transformers import AttentionInterface

    AttentionInterface.register(NAME, attend)


def attend(
    module: "nn.Module",
    query: "Tensor",
    key: "Tensor",
    value: "Tensor",
    attention_mask: "Tensor | None",
    scaling: float | None = None,
    **options: Any,
) -> tuple["Tensor", None]:
    """Output [B, T, H, D] for query [B, H, T, D] and key and value [B, H or fewer, T, D]; B is 1 with a layout."""
    import torch
    from transformers.integrations.sdpa_attention import repeat_kv, sdpa_attention_forward

    layout: Layout | None = options.pop(LAYOUT, None)
    if layout is None:
        found: tuple[Tensor, None] = sdpa_attention_forward(
            module, query, key, value, attention_mask, scaling=scaling, **options
        )
        return found
    # Under autocast, rotary embeddings return float32, and autocast does not cast the inputs of a call with a bias.
    query, key = query.to(value.dtype), key.to(value.dtype)
    repeats = query.shape[1] // key.shape[1]
    key, value = (repeat_kv(x, repeats) if repeats > 1 else x for x in (key, value))
    # The backward pass of one split is one concatenation. A slice's would allocate a whole tensor for every part.
    lengths = [n for span in layout.spans for n in (span.prompt, *span.continuations)]
    pieces = zip(*(x.split(lengths, dim=2) for x in (query, key, value)), strict=True)
    parts = [part for span in layout.spans for part in _span(span, pieces, scaling)]
    return torch.cat([part.transpose(1, 2) for part in parts], dim=1), None


def _span(span: Span, pieces: "Iterator[tuple[Tensor, ...]]", scaling: float | None) -> "Iterator[Tensor]":
    """Outputs [1, H, n, D] for the prompt and then each continuation, from their (query, key, value) in `pieces`."""
    import torch
    from torch.nn.attention.bias import causal_lower_right

    attention = torch.nn.functional.scaled_dot_product_attention
    query, key, value = next(pieces)
    yield attention(query, key, value, is_causal=True, scale=scaling)
    for tokens, (own_query, own_key, own_value) in zip(span.continuations, pieces, strict=False):
        if not tokens:
            continue
        bias: Any = causal_lower_right(tokens, span.prompt + tokens)
        keys, values = (torch.cat(both, dim=2) for both in ((key, own_key), (value, own_value)))
        yield attention(own_query, keys, values, attn_mask=bias, scale=scaling)
