"""f(p) = p / (p + gamma), f'(p) = gamma / (p + gamma)^2: increases the gradient of unlikely tokens (LUFFY)."""

from typing import TYPE_CHECKING

from pydantic import Field

from hpt_core.upge.parts import LikelihoodGradient, SignalTokens

if TYPE_CHECKING:
    from torch import Tensor


class ShapedLikelihood(LikelihoodGradient):
    """The shaped likelihood."""

    gamma: float = Field(default=0.1, gt=0)
    """Probability at which f reaches one half (LUFFY: 0.1)."""

    def log_likelihoods(self, tokens: SignalTokens) -> "Tensor":
        """[T] float; log p - log(p + gamma)."""
        return tokens.logprobs - (tokens.logprobs.exp() + self.gamma).log()
