"""pi_ref = 1: no denominator, the likelihood itself is followed (offline parts of SRFT and LUFFY)."""

from typing import TYPE_CHECKING, Literal

from hpt_core.upge.parts import ReferencePolicy, SignalTokens

if TYPE_CHECKING:
    from torch import Tensor


class Config(ReferencePolicy):
    """The constant 1."""

    name: Literal["one"] = "one"

    def ref_logprobs(self, tokens: SignalTokens) -> "Tensor":
        """[T] zeros: log 1."""
        return tokens.logprobs.new_zeros(tokens.logprobs.shape)
