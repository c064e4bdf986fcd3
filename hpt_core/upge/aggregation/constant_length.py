"""Sum over tokens, divided only by the constant length M (the RL losses of the HPT, LUFFY and SRFT scripts).

The loss grows with the number of rows in the update.
"""

from hpt_core.upge.parts import Aggregation, SignalRows


class ConstantLength(Aggregation):
    """Sum over length."""

    def weights(self, rows: SignalRows) -> tuple[float, ...]:
        """1 / M for every token."""
        return (1 / rows.max_length,) * len(rows.lengths)
