"""A = scale * e^h if correct, else -1, h the sequence's mean entropy without gradient (SRFT).

Correct responses count more while the policy is uncertain, which counteracts entropy collapse (Fu 2025; training
script: 0.1 e^h).
"""

from typing import TYPE_CHECKING, ClassVar

from pydantic import Field

from hpt_core.upge.base import Group
from hpt_core.upge.parts import Advantage, Advantages, SignalTokens
from hpt_core.upge.sequences import sequence_means

if TYPE_CHECKING:
    from torch import Tensor


class SignedEntropy(Advantage):
    """The sign of the verdict, with correct responses weighted by entropy."""

    from_rewards_alone: ClassVar[bool] = False
    needs_entropies: ClassVar[bool] = True

    scale: float = Field(default=0.1, ge=0, allow_inf_nan=False)
    """Weight of a correct response with zero entropy (SRFT: 0.1)."""

    def estimate(self, group: Group) -> Advantages:
        """1 for a correct member, 0 for any other; `per_token` turns these into weights."""
        return Advantages(tuple(map(float, group.successes)), 1.0)

    def per_token(self, tokens: SignalTokens) -> "Tensor":
        """[T] float; scale * e^h if the response is correct, else -1."""
        assert tokens.entropies is not None
        weights = self.scale * sequence_means(tokens.entropies.detach(), tokens.row_ids, tokens.lengths).exp()
        return weights.where(tokens.advantages == 1, -1.0)
