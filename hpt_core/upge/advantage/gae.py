"""Generalized advantage estimation: A_t = sum_l (gamma lambda)^l delta_{t+l}, from a value head at rollout time (PPO).

delta_t = r_t + gamma V_{t+1} - V_t, where the last token of a response receives the reward and V is 0 after it
(Schulman 2016, equation 16). Advantages are not whitened.
"""

from typing import TYPE_CHECKING, ClassVar

from pydantic import Field

from hpt_core.upge.base import Group
from hpt_core.upge.parts import Advantage, Advantages, SignalTokens

if TYPE_CHECKING:
    from torch import Tensor


class GAE(Advantage):
    """Generalized advantage estimation."""

    from_rewards_alone: ClassVar[bool] = False
    needs_values: ClassVar[bool] = True

    gamma: float = Field(default=1.0, ge=0, le=1)
    """Discount of the reward per token (1.0, as usual for language models)."""
    lam: float = Field(default=0.95, ge=0, le=1)
    """lambda: 0 relies on the values, 1 on the rewards (PPO: 0.95)."""

    def estimate(self, group: Group) -> Advantages:
        """R of each member; `per_token` computes the advantages from it."""
        return Advantages(group.rewards, group.demonstration_reward)

    def per_token(self, tokens: SignalTokens) -> "Tensor":
        """[T] float; A of each token."""
        assert tokens.old_values is not None
        return generalized_advantages(
            tokens.old_values, tokens.advantages, tokens.row_ids, tokens.lengths, self.gamma, self.lam
        )


def generalized_advantages(
    values: "Tensor", rewards: "Tensor", row_ids: "Tensor", lengths: "Tensor", gamma: float, lam: float
) -> "Tensor":
    """[T] float; A_t of each token, rows concatenated.

    `values` [T] float is the value before each token, `rewards` [T] float the reward of the token's row. `row_ids` [T]
    int64 is ascending, `lengths` is [R] int64.
    """
    import torch

    values = values.to(rewards.dtype)
    if len(values) == 0:
        return values
    ends = lengths.cumsum(0)
    places = torch.arange(len(values), device=values.device) - (ends - lengths)[row_ids]
    following = torch.cat([values[1:], values.new_zeros(1)]) * gamma
    following[ends - 1] = rewards[ends - 1]
    sums = values.new_zeros(len(lengths), int(lengths.max()))
    sums[row_ids, places] = following - values
    # Each round doubles the number of deltas in a sum: log2(longest row) rounds instead of one per token.
    reach, discount = 1, gamma * lam
    while reach < sums.shape[1]:
        beyond = torch.nn.functional.pad(sums[:, reach:], (0, reach))
        sums = sums + discount**reach * beyond
        reach *= 2
    return sums[row_ids, places]
