"""Sum over tokens, mean over a question's rows, mean over questions: the paper's L_RL, (1/n) sum_i sum_t.

n is the number of the question's rows in the update.
"""

from collections import Counter

from hpt_core.upge.parts import Aggregation, SignalRows


class QuestionMean(Aggregation):
    """Mean over rows of a question, then over all questions of the update."""

    def weights(self, rows: SignalRows) -> tuple[float, ...]:
        """1 / (Q * n) for every token, n the number of its question's rows."""
        per_question = Counter(rows.question_ids)
        return tuple(1 / (rows.questions * per_question[question]) for question in rows.question_ids)
