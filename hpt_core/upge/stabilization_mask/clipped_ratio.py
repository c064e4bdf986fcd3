"""clip(r) / r with r = pi_theta / pi_old: bounds the importance weight r and masks no token (CISPO).

With pi_ref = pi_old, a token's gradient is clip(r, 1 - eps_low, 1 + eps_high) A grad log pi_theta (Chen 2025,
MiniMax-M1, equations 4 and 5).
"""

import math
from typing import TYPE_CHECKING, ClassVar

from pydantic import Field

from hpt_core.upge.parts import SignalTokens, StabilizationMask

if TYPE_CHECKING:
    from torch import Tensor


class ClippedRatio(StabilizationMask):
    """Clipped importance weight."""

    needs_old_logprobs: ClassVar[bool] = True

    eps_low: float = Field(default=1.0, ge=0, le=1)
    """Lower bound is 1 - eps_low (MiniMax-M1 sets none: 1.0)."""
    eps_high: float = Field(default=0.2, ge=0, allow_inf_nan=False)
    """Upper bound is 1 + eps_high. MiniMax-M1 does not state its tuned value; 0.2 is the bound of the other clips."""

    def factors(self, tokens: SignalTokens) -> "Tensor":
        """[T] float; clip(r) / r, exactly 1 within the bounds."""
        log_ratios = tokens.logprobs.detach() - tokens.old_logprobs
        lower = math.log1p(-self.eps_low) if self.eps_low < 1 else -math.inf
        return (log_ratios.clamp(lower, math.log1p(self.eps_high)) - log_ratios).exp()
