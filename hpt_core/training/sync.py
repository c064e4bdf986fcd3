"""Check that rollout engine and trainer agree after a weight sync.

The engine's log-probabilities of its samples are compared with the trainer's, which come from the update's own forward
pass, before any weight changes. This detects an engine that kept an old weight, such as a tied output head.
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
"""Rollouts to compare at a step that trains on no rollout."""


class Tolerance(NamedTuple):
    """Largest log-probability differences that count as rounding, in nats."""

    mean: float
    largest: float


TOLERANCES = {"float32": Tolerance(2e-4, 2e-2), "bfloat16": Tolerance(0.15, math.inf)}
"""Tolerance by compute precision. Measured mean differences with vLLM on a CPU: 1e-6 (0.8M parameters) and 7e-6 (135M)
in float32, 0.045 (135M) in bfloat16, where a single token in millions may differ by any amount. Weights that are 0.2 %
off give 0.016, which is detected in float32 but not in bfloat16. A stale tied head gives 2.0.
"""


class Agreement(NamedTuple):
    """Differences between engine and trainer, in nats."""

    mean: float
    """Mean absolute difference."""
    largest: float
    """Largest absolute difference."""
    kl: float
    """KL(engine || trainer), estimated per token as exp(d) - 1 - d with d = trainer - engine."""


@dataclass
class Differences:
    """Sums over all tokens compared so far."""

    tokens: int = 0
    absolute: float = 0.0
    largest: float = 0.0
    kl: float = 0.0

    def compare(self, trainer: "Sequence[Tensor]", rows: Sequence[Tokens]) -> None:
        """Add the trainer's log-probabilities, [response tokens] for each row. Demonstrations are skipped."""
        import torch

        sampled = [(own, row.rollout_logprobs) for own, row in zip(trainer, rows, strict=True) if row.rollout_logprobs]
        if not sampled:
            return
        engine = torch.tensor([p for _, logprobs in sampled for p in logprobs], dtype=torch.float64)
        d = torch.cat([own.detach() for own, _ in sampled]).double().cpu() - engine
        found = (d.abs().sum().item(), d.abs().max().item(), (d.exp() - 1 - d).sum().item())
        self.add(Differences(len(d), *found))

    def add(self, other: "Differences") -> None:
        """Add the sums of another rank."""
        self.tokens += other.tokens
        self.absolute += other.absolute
        self.largest = max(self.largest, other.largest)
        self.kl += other.kl

    @property
    def agreement(self) -> Agreement | None:
        """None if nothing was compared."""
        if not self.tokens:
            return None
        return Agreement(self.absolute / self.tokens, self.largest, self.kl / self.tokens)


def probes(count: int) -> list[int]:
    """Indices of the rollouts to compare, spread evenly over `count`."""
    chosen = min(PROBES, count)
    return [i * count // chosen for i in range(chosen)]


def measure(policy: "nn.Module", rows: Sequence[Tokens], budget: int, packed: bool = False) -> Differences:
    """Compare the engine's log-probabilities of `rows` with the policy's, in a separate forward pass.

    `budget` and `packed` should be those of training, so that the comparison uses the same computation.
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


def check(agreement: Agreement, dtype: str, where: str) -> None:
    """Raise WeightSyncError if the disagreement exceeds the tolerance or is not finite. The message begins with
    `where`, such as "step 3"."""
    limit = TOLERANCES[dtype]
    if not (agreement.mean <= limit.mean and agreement.largest <= limit.largest) or math.isnan(agreement.kl):
        raise WeightSyncError(
            f"{where}: the engine's logprobs differ from the trainer's by {agreement.mean:.2g} on average and "
            f"{agreement.largest:.2g} at most (tolerance for {dtype}: {limit.mean:g} and {limit.largest:g})",
            "the engine's weights differ from the trainer's: check its version, or choose engine = 'transformers'",
        )
