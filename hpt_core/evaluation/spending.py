"""What the samples in journals have cost."""

from collections.abc import Iterable

from hpt_core.evaluation import journal
from hpt_core.evaluation.budget import Spent
from hpt_core.evaluation.spec import SampleUnit


class Sessions:
    """Adds up processes whose samples stand in several journals, each figure of a process once."""

    def __init__(self) -> None:
        self._generated: dict[str, tuple[int, float]] = {}
        self._prompt_tokens = 0
        self._greedy: set[tuple[str, str]] = set()

    def add(self, unit: SampleUnit, entry: journal.Entry) -> None:
        """Take an entry of the unit's journals."""
        generated, at = self._generated.get(entry.session, (0, 0.0))
        self._generated[entry.session] = max(generated, entry.generated), max(at, entry.at)
        if unit.sampling.temperature == 0:
            # One response stands for all samples of the question.
            question = unit.benchmark, entry.row["question_id"]
            if question in self._greedy:
                return
            self._greedy.add(question)
        self._prompt_tokens += entry.row["prompt_tokens"]

    @property
    def spent(self) -> Spent:
        """In all."""
        tokens = sum(generated for generated, _ in self._generated.values())
        return Spent(tokens, self._prompt_tokens, sum(at for _, at in self._generated.values()))


def spent_on(units: Iterable[SampleUnit]) -> Spent:
    """What the samples in the units' journals have cost. What crashes and stops threw away is not known."""
    sessions = Sessions()
    for unit in units:
        for entry in journal.read(unit.work / "journal"):
            sessions.add(unit, entry)
    return sessions.spent
