"""AdamW with its schedule and its guards."""

import math
from typing import TYPE_CHECKING, NamedTuple

from hpt_core.config import OptimiserConfig

if TYPE_CHECKING:
    from torch import nn
    from torch.optim import AdamW


class Applied(NamedTuple):
    """What became of one update."""

    norm: float
    """Global gradient norm before clipping; NaN or infinite where nothing was applied because of it."""
    skipped: bool
    """Over the spike limit: weights and moments are as before."""


def make_optimiser(model: "nn.Module", config: OptimiserConfig) -> "AdamW":
    """AdamW over every parameter; biases and norms decay too, as in the training scripts."""
    import torch

    parameters = [p for p in model.parameters() if p.requires_grad]
    return torch.optim.AdamW(
        parameters,
        lr=config.learning_rate,
        betas=config.betas,
        eps=config.eps,
        weight_decay=config.weight_decay,
        fused=True,
    )


def learning_rate(config: OptimiserConfig, step: int, steps: int) -> float:
    """The rate of step `step` (from 0) of `steps`: linear warm-up, then constant or falling towards zero."""
    if step < config.warmup_steps:
        return config.learning_rate * (step + 1) / (config.warmup_steps + 1)
    done = (step - config.warmup_steps) / max(1, steps - config.warmup_steps)
    factor = {"constant": 1.0, "linear": 1.0 - done, "cosine": 0.5 * (1.0 + math.cos(math.pi * done))}[config.decay]
    return config.learning_rate * factor


def zero_gradients(model: "nn.Module") -> None:
    """Zero, not absent: an update whose gradient is zero still moves by its momentum."""
    import torch

    for parameter in model.parameters():
        if parameter.grad is None:
            parameter.grad = torch.zeros_like(parameter)
        else:
            parameter.grad.zero_()


def apply_update(model: "nn.Module", optimiser: "AdamW", config: OptimiserConfig, rate: float) -> Applied:
    """Clip and step with the accumulated gradients.

    A non-finite norm changes nothing: the caller raises, once the batch is on disk.
    """
    import torch

    parameters = [p for p in model.parameters() if p.grad is not None]
    norm = torch.nn.utils.get_total_norm([p.grad for p in parameters if p.grad is not None])
    value = norm.item()
    if not math.isfinite(value):
        return Applied(value, skipped=False)
    if config.spike_limit is not None and value > config.spike_limit:
        return Applied(value, skipped=True)
    if config.gradient_clip is not None:
        torch.nn.utils.clip_grads_with_norm_(parameters, config.gradient_clip, norm)
    for group in optimiser.param_groups:
        group["lr"] = rate
    optimiser.step()
    return Applied(value, skipped=False)
