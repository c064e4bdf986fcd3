"""A = 2R - 1: 1 for a correct response, -1 for an incorrect one (REINFORCE in the paper's table 1)."""

from hpt_core.upge.base import Group
from hpt_core.upge.parts import Advantage, Advantages


class SignedReward(Advantage):
    """The signed reward."""

    def estimate(self, group: Group) -> Advantages:
        """2R - 1 of each member."""
        return Advantages(tuple(2 * reward - 1 for reward in group.rewards), 2 * group.demonstration_reward - 1)
