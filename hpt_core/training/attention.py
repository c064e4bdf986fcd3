"""Attention for packed rows: each row attends to its prompt and itself, and rows of one question share the prompt.

The function is registered with transformers, for models with full causal attention. Without a layout it calls
transformers' own scaled dot product attention.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from inspect import signature
from itertools import accumulate
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from torch import Tensor, device, nn

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


class Segments(NamedTuple):
    """Spans as S segments of queries, each with its own keys, for a kernel that computes all of them in one call.

    The last query of a segment sees all of its keys, the one before sees one key less, and so on.
    """

    queries: "Tensor"
    """[S + 1] int32: position of each segment's first query, then their number."""
    keys: "Tensor"
    """[S + 1] int32: the same of the gathered keys."""
    longest: tuple[int, int]
    """The largest number of queries and of keys of a segment."""
    gathered: "Tensor | None"
    """[K] int64: position of each key in the sequence; None if the keys are the sequence."""


def segments(spans: Sequence[Span], device: "device | str") -> Segments:
    """The segments of `spans`, on `device`. A prompt with one continuation is one segment."""
    import torch

    asking: list[Tensor] = []
    seen: list[Tensor] = []
    for span in spans:
        prompt = torch.arange(span.start, span.start + span.prompt)
        own = [torch.arange(start, start + n) for start, n in zip(span.starts, span.continuations, strict=False) if n]
        if len(own) == 1:
            prompt, own = torch.cat([prompt, *own]), []
        asking += [prompt, *own]
        seen += [prompt, *(torch.cat([prompt, one]) for one in own)]
    queries, keys = ([len(one) for one in parts] for parts in (asking, seen))
    starts = [torch.tensor([0, *accumulate(n)], dtype=torch.int32, device=device) for n in (queries, keys)]
    gathered = None if queries == keys else torch.cat(seen).to(device)
    return Segments(starts[0], starts[1], (max(queries), max(keys)), gathered)


@dataclass(frozen=True, slots=True)
class Layout:
    """How a packed sequence is divided into spans."""

    spans: tuple[Span, ...]
    segments: Segments | None = None
    """The same for PyTorch's kernel; None on devices that it does not run on."""

    def on(self, device: "device | str") -> "Layout":
        """The layout for tensors on `device`."""
        return Layout(self.spans, segments(self.spans, device)) if _has_kernel(device) else self


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
    if layout.segments is not None and _fits_kernel(query, key, value):
        return _in_one_call(query[0], key[0], value[0], layout.segments, scaling)[None], None
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


def _has_kernel(device: "device | str") -> bool:
    """Whether PyTorch's kernel for segments runs on `device`: it needs a GPU of NVIDIA's Ampere generation or later."""
    import torch

    if torch.device(device).type != "cuda" or torch.version.hip is not None:
        return False
    return torch.cuda.get_device_capability(device) >= (8, 0)


def _fits_kernel(query: "Tensor", key: "Tensor", value: "Tensor") -> bool:
    """Whether the kernel takes these tensors: in bfloat16, with heads of one size, a multiple of 8 up to 256."""
    import torch

    sizes = {x.shape[-1] for x in (query, key, value)}
    return value.dtype == torch.bfloat16 and len(sizes) == 1 and max(sizes) <= 256 and max(sizes) % 8 == 0


@cache
def _grouped() -> dict[str, bool]:
    """What allows fewer heads of keys. PyTorch 2.11, with which bench.speed.gpu may run, always does."""
    from torch.nn.attention.varlen import varlen_attn

    return {"enable_gqa": True} if "enable_gqa" in signature(varlen_attn).parameters else {}


def _in_one_call(
    query: "Tensor", key: "Tensor", value: "Tensor", segments: Segments, scaling: float | None
) -> "Tensor":
    """Output [T, H, D] for query [H, T, D] and key and value [H or fewer, T, D], by one kernel for all segments."""
    from torch.nn.attention.varlen import varlen_attn

    query, key, value = (x.transpose(0, 1) for x in (query, key, value))
    if segments.gathered is not None:
        key, value = (x.index_select(0, segments.gathered) for x in (key, value))
    causal: Any = {"scale": scaling, "window_size": (-1, 0), **_grouped()}
    found: Any = varlen_attn(query, key, value, segments.queries, segments.keys, *segments.longest, **causal)
    output: Tensor = found
    return output
