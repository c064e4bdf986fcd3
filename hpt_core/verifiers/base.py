"""Verdicts, and the contract of a verifier. Training rewards and evaluation scores use the same verifiers."""

from enum import StrEnum
from typing import ClassVar, NamedTuple

from hpt_core.plugins import PluginConfig


def shortened(text: str, longest: int = 100) -> str:
    """`text`, cut with an ellipsis after `longest` characters."""
    return text if len(text) <= longest else text[:longest] + "…"


class Outcome(StrEnum):
    """The result of a verification."""

    CORRECT = "correct"
    INCORRECT = "incorrect"
    NO_ANSWER = "no_answer"
    """The response contains no answer."""
    TIMEOUT = "timeout"
    """The comparison exceeded its time limit and was killed."""
    CRASH = "crash"
    """The comparison ended its process, or exceeded the memory or recursion limit, twice."""
    GOLD_ERROR = "gold_error"
    """The gold answer itself cannot be read. This is a data error and never earns a reward."""


class Judgment(NamedTuple):
    """An outcome with its own reward, for partial credit or a penalty."""

    outcome: Outcome
    reward: float
    """Within the verifier's `reward_range`."""
    reason: str = ""
    """Why the gold answer cannot be read (GOLD_ERROR)."""


class Verdict(NamedTuple):
    """The outcome, the extracted answer (None if there is none), the reward, and why the gold answer cannot be read."""

    outcome: Outcome
    extracted: str | None
    reward: float
    reason: str = ""

    @property
    def correct(self) -> bool:
        """Whether the answer is correct. Success rates and scores count this, whatever the reward."""
        return self.outcome is Outcome.CORRECT


class Verifier(PluginConfig, kind="verifiers", package="hpt_core.verifiers"):
    """A verifier in two steps, so that equal answers are compared only once. Both steps are pure functions.

    `question` is the question's text, "" if it is unknown.
    """

    version: ClassVar[str] = "1"
    """Name and version for tables, with the versions of packages that affect verdicts. Fingerprints include the code
    itself."""
    reads_question: ClassVar[bool] = False
    """Whether a verdict depends on the question (its options) as well as on the gold answer and the response."""
    reward_range: ClassVar[tuple[float, float]] = (0.0, 1.0)
    """Minimum and maximum reward. An outcome without its own reward earns the maximum if correct, else the minimum."""
    example: ClassVar[tuple[str, str] | None] = None
    """A gold answer and an equal answer. Shipped verifiers judge it when the server of the worker processes starts, so
    what they import is loaded once."""
    references: ClassVar[tuple[str, ...]] = ()
    """Graders in hpt_core/verifiers/references with which `hpt audit` compares this one."""

    def extract(self, response: str, question: str = "") -> str | None:
        """The answer in `response`, or None. Takes linear time and is safe on any text.

        A verifier that judges more than the answer returns the whole response.
        """
        raise NotImplementedError

    def judge(self, gold: str, answer: str | None, question: str = "") -> Outcome | Judgment:
        """Compare an extracted answer with `gold`. It runs in a killable process (pool.py), so it may be slow or never
        return. Returns GOLD_ERROR for an unreadable gold answer, whatever the answer."""
        raise NotImplementedError

    def check_gold(self, gold: str, question: str) -> None:
        """Raise ValueError ("has no answer") for a gold answer that no row of a benchmark can mean. Unlike `judge`, it
        takes no time."""

    def verify(self, gold: str, response: str, question: str = "") -> Verdict:
        """`extract`, then `judge`, in this process."""
        answer = self.extract(response, question)
        return self.verdict(self.judge(gold, answer, question), answer)

    def verdict(self, found: Outcome | Judgment, answer: str | None) -> Verdict:
        """The verdict on an answer. Raises ValueError if a broken verifier gives a reward out of range."""
        least, largest = self.reward_range
        if isinstance(found, Outcome):
            found = Judgment(found, largest if found is Outcome.CORRECT else least)
        if not least <= found.reward <= largest:
            raise ValueError(f"verifier {self.name!r} gave a reward of {found.reward}, not in {self.reward_range}")
        return Verdict(Outcome(found.outcome), answer, float(found.reward), found.reason)

    def gold_error(self, reason: str) -> Judgment:
        """GOLD_ERROR for a `reason`."""
        return Judgment(Outcome.GOLD_ERROR, self.reward_range[0], reason)
