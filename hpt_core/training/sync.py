"""Agreement of the rollout engine with the trainer after a weight sync.

The engine's log-probabilities of what it drew are compared with the trainer's own forward pass on a few rollouts, the
same ones whenever the step is repeated. An engine that kept an old weight, a tied head above all, is caught here.
"""

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

from hpt_core.errors import WeightSyncError
from hpt_core.training.batch import Tokens, collate, split
from hpt_core.training.policy import forward

if TYPE_CHECKING:
    from torch import nn

PROBES = 8
"""Rollouts compared at each step."""


class Tolerance(NamedTuple):
    """Largest disagreement of log-probabilities that is rounding, in nats."""

    mean: float
    largest: float


TOLERANCES = {"float32": Tolerance(2e-4, 2e-2), "bfloat16": Tolerance(0.15, 2.5)}
"""By compute precision. Mean differences of vLLM on a CPU: 1e-6 (0.8M parameters) and 7e-6 (135M) in float32,
0.045 (135M) in bfloat16. Weights that are 0.2 % off give 0.016, which float32 shows and bfloat16 hides; a stale tied
head gives 2.0.
"""


class Agreement(NamedTuple):
    """Engine against trainer over the probed tokens, in nats."""

    mean: float
    """Of the absolute difference."""
    largest: float
    kl: float
    """KL(engine || trainer), estimated per token as exp(d) - 1 - d with d = trainer - engine."""


def probes(count: int) -> list[int]:
    """Indices of the rollouts to compare, spread evenly over `count`."""
    chosen = min(PROBES, count)
    return [i * count // chosen for i in range(chosen)]


def measure(policy: "nn.Module", rows: Sequence[Tokens], budget: int, packed: bool = False) -> Agreement:
    """Compare the engine's log-probabilities of `rows`, each with its `rollout_logprobs`, with the policy's own.

    `packed` and `budget` are those of training, so that what is compared is what trains.
    """
    import torch

    device = next(policy.parameters()).device
    differences: list[torch.Tensor] = []
    with torch.no_grad():
        for group in split(rows, budget, packed):
            logprobs = forward(policy, collate([rows[i] for i in group], device, packed)).logprobs.double()
            drawn = [p for i in group for p in rows[i].rollout_logprobs or ()]
            engine = torch.tensor(drawn, dtype=torch.float64, device=device)
            differences.append(logprobs - engine)
    d = torch.cat(differences)
    return Agreement(d.abs().mean().item(), d.abs().max().item(), (d.exp() - 1 - d).mean().item())


def check(agreement: Agreement, dtype: str, step: int) -> None:
    """Raise WeightSyncError where the disagreement is more than rounding, or not finite."""
    limit = TOLERANCES[dtype]
    if not (agreement.mean <= limit.mean and agreement.largest <= limit.largest) or math.isnan(agreement.kl):
        raise WeightSyncError(
            f"step {step}: the engine's logprobs disagree with the trainer's by {agreement.mean:.2g} in the mean and "
            f"{agreement.largest:.2g} at most (tolerance for {dtype}: {limit.mean:g} and {limit.largest:g})",
            "the engine holds other weights than the trainer: check its version, or choose engine = 'transformers'",
        )
