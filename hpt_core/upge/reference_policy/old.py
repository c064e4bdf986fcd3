"""pi_ref = pi_old: the policy at rollout time, which makes the ratio the importance weight r (PPO, GRPO, Dr. GRPO)."""

from typing import TYPE_CHECKING, ClassVar, Literal

from hpt_core.upge.parts import ReferencePolicy, SignalTokens

if TYPE_CHECKING:
    from torch import Tensor


class Config(ReferencePolicy):
    """The policy at rollout time."""

    needs_old_logprobs: ClassVar[bool] = True

    name: Literal["old"] = "old"

    def ref_logprobs(self, tokens: SignalTokens) -> "Tensor":
        """[T] float."""
        return tokens.old_logprobs
