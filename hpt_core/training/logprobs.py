"""Log-probabilities and entropies of tokens, never holding [N, V] logits whole, in the forward or the backward pass."""

from functools import cache
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from torch import Tensor, nn

CHUNK_ELEMENTS = 2**24
"""Logits of one chunk: 64 MiB in float32. A chunk needs about three times that while it is worked on."""


class TokenStatistics(NamedTuple):
    """Of N response tokens."""

    logprobs: "Tensor"
    """[N] float32, nats."""
    entropies: "Tensor"
    """[N] float32, nats; of the distribution that each token was drawn from."""
    values: "Tensor | None" = None
    """[N] float32; the value head's estimate before each token, where there is such a head."""


def token_statistics(
    hidden: "Tensor", head: "nn.Module", targets: "Tensor", temperatures: "Tensor", chunk_elements: int = CHUNK_ELEMENTS
) -> TokenStatistics:
    """Statistics of `targets` [N] under softmax(head(hidden) / temperatures); hidden [N, D], temperatures [N] float32.

    `head` is linear, with or without bias. Logits are computed chunk by chunk in the dtype of autocast where it is on,
    and again in the backward pass, so that the most held of them is one chunk of `chunk_elements`.
    """
    weight: Any = head.weight
    size = max(1, chunk_elements // int(weight.shape[0]))
    logprobs, entropies = _function().apply(hidden, weight, getattr(head, "bias", None), targets, temperatures, size)
    return TokenStatistics(logprobs, entropies)


def _compute_dtype(hidden: "Tensor") -> Any:
    import torch

    device = hidden.device.type
    return torch.get_autocast_dtype(device) if torch.is_autocast_enabled(device) else hidden.dtype


class _Head(NamedTuple):
    """A linear head with its inputs, in the dtype that it computes in."""

    hidden: "Tensor"
    weight: "Tensor"
    bias: "Tensor | None"
    temperatures: "Tensor"

    @classmethod
    def cast(
        cls, hidden: "Tensor", weight: "Tensor", bias: "Tensor | None", temperatures: "Tensor", dtype: Any
    ) -> "_Head":
        return cls(hidden.to(dtype), weight.to(dtype), None if bias is None else bias.to(dtype), temperatures)

    def log_softmax(self, part: slice, normalisers: "Tensor | None" = None) -> tuple["Tensor", "Tensor"]:
        """([n, V] log-probabilities, [n] normalisers) of the tokens in `part`, in float32 or wider."""
        import torch

        logits = torch.nn.functional.linear(self.hidden[part], self.weight, self.bias)
        logits = logits if logits.dtype == torch.float64 else logits.float()
        logits.div_(self.temperatures[part, None])
        known = logits.logsumexp(-1) if normalisers is None else normalisers[part]
        return logits.sub_(known[:, None]), known


@cache
def _function() -> Any:
    """The autograd function; made on demand, since configs load without torch."""
    import torch

    class ChunkedStatistics(torch.autograd.Function):
        """(hidden [N, D], weight [V, D], bias [V] or None, targets [N], temperatures [N], rows of a chunk) ->
        (logprobs [N], entropies [N])."""

        @staticmethod
        def forward(ctx: Any, *inputs: Any) -> tuple["Tensor", "Tensor"]:
            hidden, weight, bias, targets, temperatures, ctx.size = inputs
            ctx.dtype = _compute_dtype(hidden)
            wide = torch.float64 if ctx.dtype == torch.float64 else torch.float32
            logprobs = hidden.new_empty(len(targets), dtype=wide)
            entropies, normalisers = torch.empty_like(logprobs), torch.empty_like(logprobs)
            # Autocast must not cast again, chunk by chunk.
            with torch.autocast(hidden.device.type, enabled=False):
                head = _Head.cast(hidden, weight, bias, temperatures, ctx.dtype)
                for start in range(0, len(targets), ctx.size):
                    part = slice(start, start + ctx.size)
                    logs, normalisers[part] = head.log_softmax(part)
                    logprobs[part] = logs.gather(1, targets[part, None])[:, 0]
                    entropies[part] = -torch.linalg.vecdot(logs.exp(), logs)
            ctx.save_for_backward(hidden, weight, bias, targets, temperatures, normalisers, entropies)
            ctx.set_materialize_grads(False)
            return logprobs, entropies

        @staticmethod
        def backward(ctx: Any, *gradients: "Tensor | None") -> tuple["Tensor | None", ...]:
            hidden, weight, bias, targets, temperatures, normalisers, entropies = ctx.saved_tensors
            head = _Head.cast(hidden, weight, bias, temperatures, ctx.dtype)
            for_hidden, for_weight, for_bias = (
                None if tensor is None or not needed else torch.zeros_like(tensor, dtype=normalisers.dtype)
                for tensor, needed in zip((hidden, weight, bias), ctx.needs_input_grad, strict=False)
            )
            for start in range(0, len(targets), ctx.size):
                part = slice(start, start + ctx.size)
                logs, _ = head.log_softmax(part, normalisers)
                by_logprob, by_entropy = (None if g is None else g[part, None] for g in gradients)
                by_logits = _by_logits(logs, targets[part, None], entropies[part, None], by_logprob, by_entropy)
                del logs
                by_logits.div_(temperatures[part, None])
                narrow = by_logits.to(ctx.dtype)
                if for_hidden is not None:
                    for_hidden[part] = narrow @ head.weight
                if for_weight is not None:
                    _add_product(for_weight, narrow, head.hidden[part])
                if for_bias is not None:
                    for_bias += by_logits.sum(0)
            found = zip((for_hidden, for_weight, for_bias), (hidden, weight, bias), strict=True)
            return *(None if g is None else g.to(tensor.dtype) for g, tensor in found), None, None, None

    return ChunkedStatistics


def _by_logits(
    logs: "Tensor", targets: "Tensor", entropies: "Tensor", by_logprob: "Tensor | None", by_entropy: "Tensor | None"
) -> "Tensor":
    """[n, V] gradient by the scaled logits z; logs [n, V] = log p is used up, the others are [n, 1].

    d log p_y / d z = onehot(y) - p and d H / d z = - p (log p + H).
    """
    gradient = logs.exp()
    if by_entropy is not None:
        logs.add_(entropies).mul_(-by_entropy)
        gradient.mul_(logs if by_logprob is None else logs.sub_(by_logprob))
    elif by_logprob is not None:
        gradient.mul_(-by_logprob)
    if by_logprob is not None:
        gradient.scatter_add_(1, targets, by_logprob)
    return gradient


def _add_product(total: "Tensor", by_logits: "Tensor", hidden: "Tensor") -> None:
    """total [V, D] += by_logits [n, V]^T hidden [n, D], in place."""
    if by_logits.dtype == total.dtype:
        total.addmm_(by_logits.t(), hidden)
    else:
        total += by_logits.t() @ hidden
