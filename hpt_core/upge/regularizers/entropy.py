"""Entropy bonus: minus the mean entropy over all tokens of the update, demonstrations included (training scripts)."""

from typing import TYPE_CHECKING, ClassVar

from pydantic import Field

from hpt_core.upge.base import TokenBatch
from hpt_core.upge.micro_batches import MicroBatches
from hpt_core.upge.parts import BatchRows, Regularizer

if TYPE_CHECKING:
    from torch import Tensor


class EntropyBonus(Regularizer):
    """Entropy bonus."""

    needs_entropies: ClassVar[bool] = True

    coefficient: float = Field(default=0.001, allow_inf_nan=False)
    """Factor of the mean entropy in nats (training scripts: 0.001)."""
    micro_batches: MicroBatches | None = None
    """The released code's micro-batches: each adds its mean entropy, and the sums are averaged over GPUs. None takes
    the mean over the update once."""

    def share(self, tokens: TokenBatch, rows: BatchRows) -> "Tensor":
        """Scalar; minus the sum of these tokens' entropies over the update's number of tokens, times micro-batches per
        GPU."""
        assert tokens.entropies is not None
        mean = tokens.entropies.sum() / rows.update_tokens
        if self.micro_batches is None:
            return -mean
        return -mean * (self.micro_batches.of_update(rows.update_tokens) / self.micro_batches.gpus)
