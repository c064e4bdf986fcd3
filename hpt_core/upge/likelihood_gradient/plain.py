"""f(p) = p: the gradient of the likelihood itself."""

from typing import TYPE_CHECKING, Literal

from hpt_core.upge.parts import LikelihoodGradient, SignalTokens

if TYPE_CHECKING:
    from torch import Tensor


class Config(LikelihoodGradient):
    """The likelihood."""

    name: Literal["plain"] = "plain"

    def log_likelihoods(self, tokens: SignalTokens) -> "Tensor":
        """[T] float; log p."""
        return tokens.logprobs
