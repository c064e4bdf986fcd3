"""pi_ref = 1: no denominator, so the gradient is that of the likelihood itself (offline parts of SRFT and LUFFY)."""

from typing import TYPE_CHECKING

from hpt_core.upge.parts import ReferencePolicy, SignalTokens

if TYPE_CHECKING:
    from torch import Tensor


class NoDenominator(ReferencePolicy):
    """The constant 1."""

    def ref_logprobs(self, tokens: SignalTokens) -> "Tensor":
        """[T] zeros: log 1."""
        return tokens.logprobs.new_zeros(tokens.logprobs.shape)
