"""AdamW with its learning rate schedule, gradient clipping and spike limit."""

import math
from typing import TYPE_CHECKING, NamedTuple

from hpt_core.errors import ConfigError
from hpt_core.training.config import OptimizerConfig

if TYPE_CHECKING:
    from torch import Tensor, nn
    from torch.optim import Optimizer


class Applied(NamedTuple):
    """The result of one update."""

    norm: float
    """Global gradient norm before clipping. If it is NaN or infinite, nothing was applied."""
    skipped: bool
    """Whether the norm exceeded the spike limit, so that weights and moments did not change."""


def require_eight_bit() -> None:
    """Raise ConfigError if bitsandbytes is missing."""
    try:
        import bitsandbytes  # noqa: F401
    except ImportError as error:
        raise ConfigError(
            f"optimizer.eight_bit needs bitsandbytes, but importing it failed: {error}",
            "pip install bitsandbytes, or set optimizer.eight_bit = false",
        ) from error


def make_optimizer(model: "nn.Module", config: OptimizerConfig) -> "Optimizer":
    """AdamW over all trainable parameters. Weight decay includes biases and norms, as in the training scripts.

    Raises ConfigError if the config sets eight_bit and bitsandbytes is missing.
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
    """Learning rate of step `step` (from 0) of `steps`: linear warm-up, then constant or decaying toward zero."""
    if step < config.warmup_steps:
        return config.learning_rate * (step + 1) / (config.warmup_steps + 1)
    done = (step - config.warmup_steps) / max(1, steps - config.warmup_steps)
    factor = {"constant": 1.0, "linear": 1.0 - done, "cosine": 0.5 * (1.0 + math.cos(math.pi * done))}[config.decay]
    return config.learning_rate * factor


def trained(optimizer: "Optimizer") -> "list[Tensor]":
    """The optimizer's parameters. Not module.parameters(): FSDP2 replaces those while the weights are gathered."""
    return [parameter for group in optimizer.param_groups for parameter in group["params"]]


def zero_gradients(optimizer: "Optimizer") -> None:
    """Set every gradient to zero, not None, so that an update with zero gradient still applies its momentum."""
    import torch

    for parameter in trained(optimizer):
        if parameter.grad is None:
            parameter.grad = torch.zeros_like(parameter)
        else:
            parameter.grad.zero_()


def apply_update(optimizer: "Optimizer", config: OptimizerConfig, rate: float) -> Applied:
    """Clip the accumulated gradients and apply one step.

    If the norm is not finite, nothing changes; the caller writes the batch to disk and raises.
    """
    import torch

    parameters = trained(optimizer)
    norm = torch.nn.utils.get_total_norm([p.grad for p in parameters if p.grad is not None])
    if hasattr(norm, "full_tensor"):
        # With shards, each rank holds a part of the sum.
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
