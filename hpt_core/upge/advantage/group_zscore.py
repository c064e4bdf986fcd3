"""A = (R - mean) / (std + eps) over the group, with the sample std (Shao 2024, GRPO). A single member's A is R."""

import statistics

from pydantic import Field

from hpt_core.upge.parts import GroupAdvantage


class GroupZscore(GroupAdvantage):
    """Reward as a z-score within the group."""

    eps: float = Field(default=1e-6, gt=0)
    """Added to the standard deviation (GRPO: 1e-6)."""

    def compare(self, rewards: tuple[float, ...]) -> tuple[float, ...]:
        """Z-score of each member; exactly 0 if all rewards are equal."""
        if len(rewards) == 1:
            return rewards
        mean = statistics.mean(rewards)
        scale = statistics.stdev(rewards) + self.eps
        return tuple((reward - mean) / scale for reward in rewards)
