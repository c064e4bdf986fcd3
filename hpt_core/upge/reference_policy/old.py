"""pi_ref = pi_old: the policy at rollout time, so that the ratio is the importance weight r (PPO, GRPO, Dr. GRPO)."""

from typing import TYPE_CHECKING, ClassVar

from hpt_core.upge.parts import ReferencePolicy, SignalTokens

if TYPE_CHECKING:
    from torch import Tensor


class OldPolicy(ReferencePolicy):
    """The policy at rollout time."""

    needs_old_logprobs: ClassVar[bool] = True

    def ref_logprobs(self, tokens: SignalTokens) -> "Tensor":
        """[T] float; log pi_old."""
        return tokens.old_logprobs
