"""pi_ref = stop_grad(pi_theta) / s with the sequence's ratio s = (pi_theta / pi_old)^(1 / length) (GSPO).

Each token's gradient is then s A grad log pi_theta. The mean over the tokens of a sequence is the gradient of s A
(Zheng 2025, section 4.2).
"""

from typing import TYPE_CHECKING, ClassVar

from hpt_core.upge.parts import ReferencePolicy, SignalTokens
from hpt_core.upge.sequences import sequence_means

if TYPE_CHECKING:
    from torch import Tensor


class SequenceRatio(ReferencePolicy):
    """The current policy divided by the sequence's ratio."""

    needs_old_logprobs: ClassVar[bool] = True

    def ref_logprobs(self, tokens: SignalTokens) -> "Tensor":
        """[T] float; log pi_theta - log s."""
        logprobs = tokens.logprobs.detach()
        return logprobs - sequence_means(logprobs - tokens.old_logprobs, tokens.row_ids, tokens.lengths)
