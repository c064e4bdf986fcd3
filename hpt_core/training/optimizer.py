"""AdamW with its schedule and its guards."""

import math
from typing import TYPE_CHECKING, NamedTuple

from hpt_core.errors import ConfigError
from hpt_core.training.config import OptimizerConfig

if TYPE_CHECKING:
    from torch import Tensor, nn
    from torch.optim import Optimizer


class Applied(NamedTuple):
    """What became of one update."""

    norm: float
    """Global gradient norm before clipping; NaN or infinite where nothing was applied because of it."""
    skipped: bool
    """Over the spike limit: weights and moments are as before."""


def require_eight_bit() -> None:
    """Raise ConfigError where bitsandbytes is missing."""
    try:
        import bitsandbytes  # noqa: F401
    except ImportError as error:
        raise ConfigError(
            f"optimizer.eight_bit needs bitsandbytes, which cannot be imported: {error}",
            "pip install bitsandbytes, or set optimizer.eight_bit = false",
        ) from error


def make_optimizer(model: "nn.Module", config: OptimizerConfig) -> "Optimizer":
    """AdamW over every parameter that trains; biases and norms decay too, as in the training scripts.

    Raises ConfigError where 8-bit moments are asked for and bitsandbytes is missing.
    """
    import torch

    parameters = [p for p in model.parameters() if p.requires_grad]
    if config.eight_bit:
        require_eight_bit()
        import bitsandbytes

        eight_bit: Optimizer = bitsandbytes.optim.AdamW8bit(
            parameters, lr=config.learning_rate, betas=config.betas, eps=config.eps, weight_decay=config.weight_decay
        )
        return eight_bit
    return torch.optim.AdamW(
        parameters,
        lr=config.learning_rate,
        betas=config.betas,
        eps=config.eps,
        weight_decay=config.weight_decay,
        fused=True,
    )


def learning_rate(config: OptimizerConfig, step: int, steps: int) -> float:
    """The rate of step `step` (from 0) of `steps`: linear warm-up, then constant or falling towards zero."""
    if step < config.warmup_steps:
        return config.learning_rate * (step + 1) / (config.warmup_steps + 1)
    done = (step - config.warmup_steps) / max(1, steps - config.warmup_steps)
    factor = {"constant": 1.0, "linear": 1.0 - done, "cosine": 0.5 * (1.0 + math.cos(math.pi * done))}[config.decay]
    return config.learning_rate * factor


def trained(optimizer: "Optimizer") -> "list[Tensor]":
    """The weights that an optimizer moves. A sharded module shows others in their place while it has them gathered."""
    return [parameter for group in optimizer.param_groups for parameter in group["params"]]


def zero_gradients(optimizer: "Optimizer") -> None:
    """Zero, not absent: an update whose gradient is zero still moves by its momentum."""
    import torch

    for parameter in trained(optimizer):
        if parameter.grad is None:
            parameter.grad = torch.zeros_like(parameter)
        else:
            parameter.grad.zero_()


def apply_update(optimizer: "Optimizer", config: OptimizerConfig, rate: float) -> Applied:
    """Clip and step with the accumulated gradients.

    A non-finite norm changes nothing: the caller raises, once the batch is on disk.
    """
    import torch

    parameters = trained(optimizer)
    norm = torch.nn.utils.get_total_norm([p.grad for p in parameters if p.grad is not None])
    if hasattr(norm, "full_tensor"):
        # Of shards: each rank holds a part of the sum.
        norm = norm.full_tensor()
    value = norm.item()
    if not math.isfinite(value):
        return Applied(value, skipped=False)
    if config.spike_limit is not None and value > config.spike_limit:
        return Applied(value, skipped=True)
    if config.gradient_clip is not None:
        torch.nn.utils.clip_grads_with_norm_(parameters, config.gradient_clip, norm)
    for group in optimizer.param_groups:
        group["lr"] = rate
    optimizer.step()
    return Applied(value, skipped=False)
