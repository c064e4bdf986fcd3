"""Verdicts, and the contract of a verifier. Training rewards and evaluation scores come from the same ones."""

from enum import StrEnum
from typing import ClassVar, NamedTuple

from hpt_core.plugins import PluginConfig


class Outcome(StrEnum):
    """What a verifier found."""

    CORRECT = "correct"
    INCORRECT = "incorrect"
    NO_ANSWER = "no_answer"
    """The response holds nothing that could be taken for an answer."""
    TIMEOUT = "timeout"
    """The comparison ran past its limit and was killed."""
    CRASH = "crash"
    """The comparison took its process down, or more memory or recursion than it may, twice."""
    GOLD_ERROR = "gold_error"
    """The gold answer itself cannot be read: a fault of the data, never a reward."""


class Judgment(NamedTuple):
    """What a verifier says of an answer whose reward is not the outcome's alone: partial credit, a penalty."""

    outcome: Outcome
    reward: float
    """Within the verifier's `reward_range`."""


class Verdict(NamedTuple):
    """The outcome, the answer as it was read out of the response (None where there is none), and its reward."""

    outcome: Outcome
    extracted: str | None
    reward: float

    @property
    def correct(self) -> bool:
        """Whether the answer is correct: what success rates and scores count, whatever the reward."""
        return self.outcome is Outcome.CORRECT


class Verifier(PluginConfig, kind="verifiers", package="hpt_core.verifiers"):
    """A verifier in two steps, so that equal answers are compared once. Both are pure functions.

    `question` is the question's text, "" where it is not known.
    """

    version: ClassVar[str] = "1"
    """Name and version, as tables show them; with versions of packages that decide a verdict. The verifier's own code
    counts by itself."""
    reads_question: ClassVar[bool] = False
    """Whether a verdict depends on the question (its options), and not on the gold answer and the response alone."""
    reward_range: ClassVar[tuple[float, float]] = (0.0, 1.0)
    """Least and largest reward. An outcome without a reward of its own earns the largest where it is correct, else the
    least."""
    references: ClassVar[tuple[str, ...]] = ()
    """Graders of hpt_core/verifiers/references that `hpt audit` holds this one against."""

    def extract(self, response: str, question: str = "") -> str | None:
        """The answer as it stands in `response`, or None. Linear in the response's length and safe on any text.

        The whole response, for a verifier that judges more than the answer.
        """
        raise NotImplementedError

    def judge(self, gold: str, answer: str | None, question: str = "") -> Outcome | Judgment:
        """Compare an extracted answer with `gold`. It may be slow or never return: it runs in a killable process
        (pool.py). A gold answer that cannot be read is GOLD_ERROR whatever the answer."""
        raise NotImplementedError

    def verify(self, gold: str, response: str, question: str = "") -> Verdict:
        """`extract`, then `judge`, in this process."""
        answer = self.extract(response, question)
        return self.verdict(self.judge(gold, answer, question), answer)

    def verdict(self, found: Outcome | Judgment, answer: str | None) -> Verdict:
        """The verdict on an answer. Raises ValueError where the reward is out of range: the verifier is broken."""
        least, largest = self.reward_range
        if isinstance(found, Outcome):
            found = Judgment(found, largest if found is Outcome.CORRECT else least)
        if not least <= found.reward <= largest:
            raise ValueError(f"verifier {self.name!r} gave a reward of {found.reward}, not in {self.reward_range}")
        return Verdict(Outcome(found.outcome), answer, float(found.reward))
