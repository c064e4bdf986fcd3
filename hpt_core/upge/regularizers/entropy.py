"""Entropy bonus: minus the mean entropy over all tokens of the update, demonstrations included (training scripts)."""

from typing import TYPE_CHECKING, ClassVar

from pydantic import Field

from hpt_core.upge.base import TokenBatch
from hpt_core.upge.parts import BatchRows, Regularizer

if TYPE_CHECKING:
    from torch import Tensor


class EntropyBonus(Regularizer):
    """Entropy bonus."""

    needs_entropies: ClassVar[bool] = True

    coefficient: float = Field(default=0.001, allow_inf_nan=False)
    """Factor of the mean entropy in nats (training scripts: 0.001)."""

    def share(self, tokens: TokenBatch, rows: BatchRows) -> "Tensor":
        """Scalar; minus the sum of these tokens' entropies, divided by the update's number of tokens."""
        assert tokens.entropies is not None
        return -tokens.entropies.sum() / rows.update_tokens
