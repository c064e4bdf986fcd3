"""Mean over the tokens of each sequence, then over sequences (Shao 2024, GRPO)."""

from hpt_core.upge.parts import Aggregation, SignalRows


class SequenceMean(Aggregation):
    """Mean over tokens, then over sequences."""

    def weights(self, rows: SignalRows) -> tuple[float, ...]:
        """1 / (rows * length) for the tokens of each row."""
        return tuple(1 / (len(rows.lengths) * length) for length in rows.lengths)
