"""pi_ref = stop_grad(pi_theta): the policy itself, so that the gradient is that of log pi_theta (SFT, REINFORCE)."""

from typing import TYPE_CHECKING

from hpt_core.upge.parts import ReferencePolicy, SignalTokens

if TYPE_CHECKING:
    from torch import Tensor


class CurrentPolicy(ReferencePolicy):
    """The current policy, without gradient."""

    def ref_logprobs(self, tokens: SignalTokens) -> "Tensor":
        """[T] float; log pi_theta, detached."""
        return tokens.logprobs.detach()
