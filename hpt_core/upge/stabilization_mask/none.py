"""No mask: every token keeps its gradient (SFT; the RL half of the HPT scripts)."""

from typing import TYPE_CHECKING

from hpt_core.upge.parts import SignalTokens, StabilizationMask

if TYPE_CHECKING:
    from torch import Tensor


class NoMask(StabilizationMask):
    """No mask."""

    def factors(self, tokens: SignalTokens) -> "Tensor":
        """[T] ones."""
        return tokens.logprobs.new_ones(tokens.logprobs.shape)
