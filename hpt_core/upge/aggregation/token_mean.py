"""Mean over all tokens of the update that carry the signal."""

from hpt_core.upge.parts import Aggregation, SignalRows


class TokenMean(Aggregation):
    """Mean over tokens."""

    def weights(self, rows: SignalRows) -> tuple[float, ...]:
        """1 / tokens for every token."""
        total = sum(rows.lengths)
        return tuple(1 / total for _ in rows.lengths)
