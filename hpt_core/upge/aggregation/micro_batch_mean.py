"""Mean over the tokens of each micro-batch, added up over micro-batches and averaged over GPUs: the SFT losses of the
HPT and SRFT scripts.

It is `token_mean` times the number of micro-batches with such a token, divided by the number of GPUs, as if all
micro-batches were equally long.
"""

from pydantic import Field

from hpt_core.upge.micro_batches import MicroBatches
from hpt_core.upge.parts import Aggregation, SignalRows


class MicroBatchMean(Aggregation):
    """Mean over tokens, once per micro-batch."""

    micro_batches: MicroBatches = Field(default_factory=MicroBatches)
    """The released code's micro-batches."""

    def weights(self, rows: SignalRows) -> tuple[float, ...]:
        """K / (GPUs * tokens) for every token, K the expected micro-batches with a row of this signal."""
        count = self.micro_batches.with_any(len(rows.lengths), rows.update_tokens)
        total = sum(rows.lengths)
        return tuple(count / (self.micro_batches.gpus * total) for _ in rows.lengths)
