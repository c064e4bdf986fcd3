"""Sum over tokens, divided only by the constant length M (the RL losses of the HPT, LUFFY and SRFT scripts).

The loss grows with the number of rows in the update.
"""

from pydantic import Field

from hpt_core.upge.parts import Aggregation, SignalRows


class ConstantLength(Aggregation):
    """Sum over length."""

    gpus: int = Field(default=1, ge=1)
    """GPUs over which the sums are averaged (scripts: 8). Adam's step does not depend on it, but the gradient's norm
    does, and so do gradient_clip and the spike limit."""

    def weights(self, rows: SignalRows) -> tuple[float, ...]:
        """1 / (GPUs * M) for every token."""
        return (1 / (self.gpus * rows.max_length),) * len(rows.lengths)
