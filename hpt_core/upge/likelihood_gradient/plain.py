"""f(p) = p: the gradient of the likelihood itself."""

from typing import TYPE_CHECKING

from hpt_core.upge.parts import LikelihoodGradient, SignalTokens

if TYPE_CHECKING:
    from torch import Tensor


class PlainLikelihood(LikelihoodGradient):
    """The likelihood."""

    def log_likelihoods(self, tokens: SignalTokens) -> "Tensor":
        """[T] float; log p."""
        return tokens.logprobs
