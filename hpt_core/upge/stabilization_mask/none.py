"""No mask: every token keeps its gradient (SFT; the RL half of the HPT scripts)."""

from typing import TYPE_CHECKING, Literal

from hpt_core.upge.parts import SignalTokens, StabilizationMask

if TYPE_CHECKING:
    from torch import Tensor


class Config(StabilizationMask):
    """No mask."""

    name: Literal["none"] = "none"

    def factors(self, tokens: SignalTokens) -> "Tensor":
        """[T] ones."""
        return tokens.logprobs.new_ones(tokens.logprobs.shape)
