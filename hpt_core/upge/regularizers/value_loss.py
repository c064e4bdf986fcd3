"""Value loss: half the mean squared error of the value head against returns, over an update's rollout tokens (PPO).

Returns are the generalized advantages plus the values at rollout time (Schulman 2017, section 5).
"""

from typing import TYPE_CHECKING, ClassVar

from pydantic import Field

from hpt_core.upge.advantage.gae import generalized_advantages
from hpt_core.upge.base import TokenBatch
from hpt_core.upge.parts import BatchRows, Regularizer

if TYPE_CHECKING:
    from torch import Tensor


class ValueLoss(Regularizer):
    """Value loss."""

    needs_values: ClassVar[bool] = True
    rollouts_only: ClassVar[bool] = True

    coefficient: float = Field(default=1.0, ge=0, allow_inf_nan=False)
    """Factor of half the mean squared error (Schulman 2017, equation 9: c1)."""
    gamma: float = Field(default=1.0, ge=0, le=1)
    """Discount of the returns."""
    lam: float = Field(default=0.95, ge=0, le=1)
    """lambda of the returns; 1 makes them plain rewards. Algorithm "ppo" uses its advantage's lambda by default."""
    clip: float | None = Field(default=None, gt=0, allow_inf_nan=False)
    """Clip the values to this distance from those at rollout time and use the larger of the two errors, as in PPO's
    first implementation (0.2 there); None does not clip."""

    def share(self, tokens: TokenBatch, rows: BatchRows) -> "Tensor":
        """Scalar; half the squared errors of these rollout tokens, divided by the update's number of rollout tokens."""
        assert tokens.values is not None and tokens.old_values is not None
        chosen = rows.are_rollouts[tokens.row_ids]
        if rows.update_rollout_tokens == 0:
            return tokens.values[:0].sum()
        old = tokens.old_values.detach()
        rewards = rows.rewards[tokens.row_ids]
        returns = old + generalized_advantages(old, rewards, tokens.row_ids, rows.lengths, self.gamma, self.lam)
        errors = (tokens.values - returns).square()
        if self.clip is not None:
            near = old + (tokens.values - old).clamp(-self.clip, self.clip)
            errors = errors.maximum((near - returns).square())
        return 0.5 * errors[chosen].sum() / rows.update_rollout_tokens
