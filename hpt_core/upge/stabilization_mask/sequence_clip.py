"""Clip on a sequence's ratio s = (pi_theta / pi_old)^(1 / length), which masks all of its tokens or none (GSPO).

0 where A > 0 and s > 1 + eps_high, or A < 0 and s < 1 - eps_low (Zheng 2025, equation 5).
"""

from typing import TYPE_CHECKING, ClassVar

from pydantic import Field

from hpt_core.upge.parts import SignalTokens, StabilizationMask
from hpt_core.upge.sequences import sequence_means

if TYPE_CHECKING:
    from torch import Tensor


class SequenceClip(StabilizationMask):
    """Sequence clip."""

    needs_old_logprobs: ClassVar[bool] = True

    eps_low: float = Field(default=3e-4, ge=0, le=1)
    """Lower bound is 1 - eps_low (Zheng 2025, section 5.1: 3e-4)."""
    eps_high: float = Field(default=4e-4, ge=0)
    """Upper bound is 1 + eps_high (Zheng 2025, section 5.1: 4e-4)."""

    def factors(self, tokens: SignalTokens) -> "Tensor":
        """[T] float; 0 for the tokens of a clipped sequence, else 1."""
        log_ratios = tokens.logprobs.detach() - tokens.old_logprobs
        ratios = sequence_means(log_ratios, tokens.row_ids, tokens.lengths).exp()
        too_high = (tokens.advantages > 0) & (ratios > 1 + self.eps_high)
        too_low = (tokens.advantages < 0) & (ratios < 1 - self.eps_low)
        return (~(too_high | too_low)).to(ratios.dtype)
