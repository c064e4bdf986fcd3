"""Computes the cost of the samples in journals."""

from collections.abc import Iterable

from hpt_core.evaluation import journal
from hpt_core.evaluation.budget import Spent
from hpt_core.evaluation.spec import SampleUnit


def spent_on(units: Iterable[SampleUnit]) -> Spent:
    """Resources spent on the samples in the units' journals, without samples that crashes discarded."""
    sessions: dict[str, tuple[int, float]] = {}  # a process may write several journals; its totals count once
    prompt_tokens = 0
    greedy: set[tuple[str, str]] = set()
    for unit in units:
        for entry in journal.read(unit.work / "journal"):
            tokens, seconds = sessions.get(entry.session, (0, 0.0))
            sessions[entry.session] = max(tokens, entry.generated), max(seconds, entry.at)
            if unit.sampling.temperature == 0:
                # All samples of the question share one response.
                question = unit.benchmark, entry.row["question_id"]
                if question in greedy:
                    continue
                greedy.add(question)
            prompt_tokens += entry.row["prompt_tokens"]
    totals = sessions.values()
    return Spent(sum(tokens for tokens, _ in totals), prompt_tokens, sum(seconds for _, seconds in totals))
