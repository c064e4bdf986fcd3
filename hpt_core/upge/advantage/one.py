"""A = 1 for every response (SFT)."""

from hpt_core.upge.base import Group
from hpt_core.upge.parts import Advantage, Advantages


class ConstantOne(Advantage):
    """The constant 1."""

    def estimate(self, group: Group) -> Advantages:
        """1 for every member."""
        return Advantages((1.0,) * len(group.rewards), 1.0)
