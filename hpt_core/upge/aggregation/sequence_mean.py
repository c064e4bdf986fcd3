"""Mean over the tokens of each sequence, then over sequences (Shao 2024, GRPO)."""

from typing import Literal

from hpt_core.upge.parts import Aggregation, SignalRows


class Config(Aggregation):
    """Mean over tokens, then over sequences."""

    name: Literal["sequence_mean"] = "sequence_mean"

    def weights(self, rows: SignalRows) -> tuple[float, ...]:
        """1 / (rows * length) for the tokens of each row."""
        return tuple(1 / (len(rows.lengths) * length) for length in rows.lengths)
