"""Sum over tokens, divided by Q * M: questions of the update times the constant length (Dr. GRPO; HPT's default)."""

from hpt_core.upge.parts import Aggregation, SignalRows


class FixedLength(Aggregation):
    """Sum over questions times length."""

    def weights(self, rows: SignalRows) -> tuple[float, ...]:
        """1 / (Q * M) for every token."""
        return (1 / (rows.questions * rows.max_length),) * len(rows.lengths) if rows.lengths else ()
