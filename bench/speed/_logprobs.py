"""One way to compute log-probabilities and entropies, in a separate process (bench.speed.logprobs)."""

import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from bench import child, memory

if TYPE_CHECKING:
    from torch import Tensor, nn

Statistics = tuple["Tensor", "Tensor | None"]
"""Log-probabilities [N] and entropies [N]."""
RESULTS = ("logprobs", "entropies", "gradient of hidden", "gradient of head")


def tiled(hidden: "Tensor", head: "nn.Module", targets: "Tensor", temperatures: "Tensor") -> Statistics:
    """The trainer's code, in tiles."""
    from hpt_core.training.logprobs import token_statistics

    found = token_statistics(hidden, head, targets, temperatures)
    return found.logprobs, found.entropies


def plain(hidden: "Tensor", head: "nn.Module", targets: "Tensor", temperatures: "Tensor") -> Statistics:
    """log_softmax over all logits at once."""
    import torch

    logprobs = torch.log_softmax(head(hidden) / temperatures[:, None], dim=-1)
    return logprobs.gather(1, targets[:, None])[:, 0], -(logprobs.exp() * logprobs).sum(-1)


def plain_alone(hidden: "Tensor", head: "nn.Module", targets: "Tensor", temperatures: "Tensor") -> Statistics:
    """The same without entropies."""
    import torch

    logprobs = torch.log_softmax(head(hidden) / temperatures[:, None], dim=-1)
    return logprobs.gather(1, targets[:, None])[:, 0], None


WAYS: dict[str, Callable[..., Statistics]] = {
    "tiled": tiled, "plain": plain, "plain, without entropies": plain_alone
}  # fmt: skip


def run(way: str, tokens: int, vocabulary: int, width: int, wide: bool = False) -> dict[str, "Tensor"]:
    """Values and gradients of one way. The inputs depend only on the sizes. `wide`: compute in float64."""
    import torch

    generator = torch.Generator().manual_seed(0)
    hidden = torch.randn(tokens, width, generator=generator)
    head = torch.nn.Linear(width, vocabulary, bias=False)
    with torch.no_grad():
        head.weight.normal_(0, 0.3, generator=generator)
    targets = torch.randint(vocabulary, (tokens,), generator=generator)
    temperatures = torch.full((tokens,), 0.7)
    weights = torch.randn(2, tokens, generator=generator)
    if wide:
        hidden, head, temperatures, weights = hidden.double(), head.double(), temperatures.double(), weights.double()
    hidden.requires_grad_()
    memory.reset_peak()
    before, started = memory.resident_gib(), time.perf_counter()
    logprobs, entropies = WAYS[way](hidden, head, targets, temperatures)
    loss = (weights[0] * logprobs).sum()
    if entropies is not None:
        loss = loss + (weights[1] * entropies).sum()
    loss.backward()  # type: ignore[no-untyped-call]
    seconds = time.perf_counter() - started
    assert hidden.grad is not None and head.weight.grad is not None
    return {
        "logprobs": logprobs.detach(),
        "entropies": torch.empty(0) if entropies is None else entropies.detach(),
        "gradient of hidden": hidden.grad,
        "gradient of head": head.weight.grad,
        "peak_gib": torch.tensor(memory.peak_gib() - before),
        "seconds": torch.tensor(seconds),
    }


def measure(way: str, tokens: int, vocabulary: int, hidden: int, threads: int) -> dict[str, Any]:
    """GiB and seconds of one way, after a small warm-up run.

    The way "errors" returns for each way the largest difference from the plain way in float64, relative to its largest
    value.
    """
    import torch

    torch.set_num_threads(threads)
    if way == "errors":
        exact = run("plain", tokens, vocabulary, hidden, wide=True)
        return {name: _errors(run(name, tokens, vocabulary, hidden), exact) for name in ("tiled", "plain")}
    run(way, 64, 512, hidden)
    found = run(way, tokens, vocabulary, hidden)
    return {"peak_gib": found["peak_gib"].item(), "seconds": found["seconds"].item()}


def _errors(found: dict[str, "Tensor"], exact: dict[str, "Tensor"]) -> dict[str, float]:
    return {
        name: ((found[name].double() - exact[name]).abs().max() / exact[name].abs().max()).item() for name in RESULTS
    }


if __name__ == "__main__":
    child.answer(measure)
