"""A = scale * e^(-h), h the sequence's mean entropy without gradient: larger where the policy is confident (SRFT).

It weights the supervised term on demonstrations (Fu 2025; training script: 0.5 e^(-h)).
"""

from typing import TYPE_CHECKING, ClassVar

from pydantic import Field

from hpt_core.upge.base import Group
from hpt_core.upge.parts import Advantage, Advantages, SignalTokens
from hpt_core.upge.sequences import sequence_means

if TYPE_CHECKING:
    from torch import Tensor


class InverseEntropy(Advantage):
    """Weight that falls with entropy."""

    from_rewards_alone: ClassVar[bool] = False
    needs_entropies: ClassVar[bool] = True

    scale: float = Field(default=0.5, ge=0, allow_inf_nan=False)
    """Weight of a sequence with zero entropy (SRFT: 0.5)."""

    def estimate(self, group: Group) -> Advantages:
        """1 for every member; `per_token` applies the weight."""
        return Advantages((1.0,) * len(group.rewards), 1.0)

    def per_token(self, tokens: SignalTokens) -> "Tensor":
        """[T] float; scale * e^(-h)."""
        assert tokens.entropies is not None
        return self.scale * (-sequence_means(tokens.entropies.detach(), tokens.row_ids, tokens.lengths)).exp()
