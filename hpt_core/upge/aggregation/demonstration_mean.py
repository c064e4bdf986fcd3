"""Mean over the tokens of each demonstration, then over questions: the paper's L_SFT, (1/|tau*|) sum_t.

Unlike sequence_mean, it also counts questions without this signal.
"""

from hpt_core.upge.parts import Aggregation, SignalRows


class DemonstrationMean(Aggregation):
    """Mean over tokens, then over all questions of the update."""

    def weights(self, rows: SignalRows) -> tuple[float, ...]:
        """1 / (Q * length) for the tokens of each row."""
        return tuple(1 / (rows.questions * length) for length in rows.lengths)
