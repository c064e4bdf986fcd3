"""Agreement of the rollout engine with the trainer after a weight sync.

The engine's log-probabilities of what it drew are compared with the trainer's, in the forward pass that the update
takes anyway and before it changes a weight. An engine that kept an old weight, a tied head above all, is caught here.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

from hpt_core.errors import WeightSyncError
from hpt_core.training.batch import Tokens, collate, split
from hpt_core.training.policy import forward

if TYPE_CHECKING:
    from torch import Tensor, nn

PROBES = 8
"""Rollouts compared at a step that trains on none."""


class Tolerance(NamedTuple):
    """Largest disagreement of log-probabilities that is rounding, in nats."""

    mean: float
    largest: float


TOLERANCES = {"float32": Tolerance(2e-4, 2e-2), "bfloat16": Tolerance(0.15, math.inf)}
"""By compute precision. Mean differences of vLLM on a CPU: 1e-6 (0.8M parameters) and 7e-6 (135M) in float32,
0.045 (135M) in bfloat16, where a single token in millions may be off by any amount. Weights that are 0.2 % off give
0.016, which float32 shows and bfloat16 hides; a stale tied head gives 2.0.
"""


class Agreement(NamedTuple):
    """Engine against trainer, in nats."""

    mean: float
    """Of the absolute difference."""
    largest: float
    kl: float
    """KL(engine || trainer), estimated per token as exp(d) - 1 - d with d = trainer - engine."""


@dataclass
class Differences:
    """Sums over the tokens that were compared so far."""

    tokens: int = 0
    absolute: float = 0.0
    largest: float = 0.0
    kl: float = 0.0

    def compare(self, trainer: "Sequence[Tensor]", rows: Sequence[Tokens]) -> None:
        """Take in the log-probabilities [response tokens] of each row; demonstrations have none of the engine's."""
        import torch

        sampled = [(own, row.rollout_logprobs) for own, row in zip(trainer, rows, strict=True) if row.rollout_logprobs]
        if not sampled:
            return
        engine = torch.tensor([p for _, logprobs in sampled for p in logprobs], dtype=torch.float64)
        d = torch.cat([own.detach() for own, _ in sampled]).double().cpu() - engine
        found = (d.abs().sum().item(), d.abs().max().item(), (d.exp() - 1 - d).sum().item())
        self.add(Differences(len(d), *found))

    def add(self, other: "Differences") -> None:
        """Take in what another rank or micro-batch compared."""
        self.tokens += other.tokens
        self.absolute += other.absolute
        self.largest = max(self.largest, other.largest)
        self.kl += other.kl

    @property
    def agreement(self) -> Agreement | None:
        """None where nothing was compared."""
        if not self.tokens:
            return None
        return Agreement(self.absolute / self.tokens, self.largest, self.kl / self.tokens)


def probes(count: int) -> list[int]:
    """Indices of the rollouts to compare, spread evenly over `count`."""
    chosen = min(PROBES, count)
    return [i * count // chosen for i in range(chosen)]


def measure(policy: "nn.Module", rows: Sequence[Tokens], budget: int, packed: bool = False) -> Differences:
    """Compare the engine's log-probabilities of `rows` with the policy's own, in a forward pass of its own.

    `packed` and `budget` are those of training, so that what is compared is what would train.
    """
    import torch

    device = next(policy.parameters()).device
    found = Differences()
    with torch.no_grad():
        for group in split(rows, budget, packed):
            members = [rows[i] for i in group]
            logprobs = forward(policy, collate(members, device, packed)).logprobs
            found.compare(logprobs.split([len(row.response_ids) for row in members]), members)  # type: ignore[no-untyped-call]
    return found


def check(agreement: Agreement, dtype: str, step: int) -> None:
    """Raise WeightSyncError where the disagreement is more than rounding, or not finite."""
    limit = TOLERANCES[dtype]
    if not (agreement.mean <= limit.mean and agreement.largest <= limit.largest) or math.isnan(agreement.kl):
        raise WeightSyncError(
            f"step {step}: the engine's logprobs disagree with the trainer's by {agreement.mean:.2g} in the mean and "
            f"{agreement.largest:.2g} at most (tolerance for {dtype}: {limit.mean:g} and {limit.largest:g})",
            "the engine holds other weights than the trainer: check its version, or choose engine = 'transformers'",
        )
