"""Log-probabilities and entropies of response tokens, never holding [N, V] logits whole."""

from typing import TYPE_CHECKING, NamedTuple

from hpt_core.training.batch import MicroBatch

if TYPE_CHECKING:
    from torch import Tensor, nn

CHUNK_ELEMENTS = 2**24
"""Logits of one chunk: 64 MiB in float32."""


class TokenStatistics(NamedTuple):
    """Of N response tokens, in nats."""

    logprobs: "Tensor"
    """[N] float32."""
    entropies: "Tensor"
    """[N] float32."""


def token_statistics(
    hidden: "Tensor", head: "nn.Module", targets: "Tensor", temperatures: "Tensor", chunk_elements: int = CHUNK_ELEMENTS
) -> TokenStatistics:
    """Statistics of `targets` [N] under softmax(head(hidden) / temperatures); hidden [N, D], temperatures [N] float32.

    Chunks are recomputed in the backward pass where there is more than one.
    """
    import torch
    from torch.utils.checkpoint import checkpoint

    def statistics(h: "Tensor", target: "Tensor", temperature: "Tensor") -> tuple["Tensor", "Tensor"]:
        logits = head(h).float() / temperature[:, None]
        logprobs = torch.log_softmax(logits, dim=-1)
        entropies = -(logprobs.exp() * logprobs).sum(-1)
        return logprobs.gather(1, target[:, None])[:, 0], entropies

    vocabulary = int(head.weight.shape[0])  # type: ignore[index]
    size = max(1, chunk_elements // vocabulary)
    pieces = (torch.split(tensor, size) for tensor in (hidden, targets, temperatures))
    chunks = list(zip(*pieces, strict=True))
    if len(chunks) == 1 or not torch.is_grad_enabled():
        parts = [statistics(*chunk) for chunk in chunks]
    else:
        parts = [checkpoint(statistics, *chunk, use_reentrant=False) for chunk in chunks]
    return TokenStatistics(torch.cat([p[0] for p in parts]), torch.cat([p[1] for p in parts]))


def forward(model: "nn.Module", batch: MicroBatch, dtype: str) -> TokenStatistics:
    """Statistics of a micro-batch's response tokens under `model` (a transformers causal LM), computing in `dtype`."""
    import torch

    device = batch.input_ids.device.type
    with torch.autocast(device, dtype=torch.bfloat16, enabled=dtype == "bfloat16"):
        output = model.base_model(input_ids=batch.input_ids, use_cache=False)  # type: ignore[operator]
        hidden = output.last_hidden_state.flatten(0, 1).index_select(0, batch.positions)
        head = model.get_output_embeddings()  # type: ignore[operator]
        return token_statistics(hidden, head, batch.targets, batch.temperatures)
