"""A = R - mean(R over the group): no division by the standard deviation (Dr. GRPO)."""

import statistics

from hpt_core.upge.parts import GroupAdvantage


class GroupMean(GroupAdvantage):
    """Reward minus the group's mean."""

    def compare(self, rewards: tuple[float, ...]) -> tuple[float, ...]:
        """R - mean of each member; exactly 0 if all rewards are equal."""
        mean = statistics.mean(rewards)
        return tuple(reward - mean for reward in rewards)
