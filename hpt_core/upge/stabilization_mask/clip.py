"""PPO's clip as a mask on r = pi_theta / pi_old: 0 where A > 0 and r > 1 + eps_high, or A < 0 and r < 1 - eps_low.

The gradient equals that of min(r A, clip(r, 1 - eps_low, 1 + eps_high) A) (Schulman 2017, equation 7); the value does
not.
"""

from typing import TYPE_CHECKING, ClassVar

from pydantic import Field

from hpt_core.upge.parts import SignalTokens, StabilizationMask

if TYPE_CHECKING:
    from torch import Tensor


class Clip(StabilizationMask):
    """Token clip."""

    needs_old_logprobs: ClassVar[bool] = True

    eps_low: float = Field(default=0.2, ge=0, le=1)
    """Lower bound is 1 - eps_low (PPO and GRPO: 0.2)."""
    eps_high: float = Field(default=0.2, ge=0)
    """Upper bound is 1 + eps_high (PPO and GRPO: 0.2; DAPO: 0.28)."""

    def factors(self, tokens: SignalTokens) -> "Tensor":
        """[T] float; 0 for clipped tokens, else 1."""
        ratios = (tokens.logprobs.detach() - tokens.old_logprobs).exp()
        too_high = (tokens.advantages > 0) & (ratios > 1 + self.eps_high)
        too_low = (tokens.advantages < 0) & (ratios < 1 - self.eps_low)
        return (~(too_high | too_low)).to(ratios.dtype)
