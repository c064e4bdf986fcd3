"""The report of data preparation. Every row read is either kept or counted under one reason."""

from collections import Counter, defaultdict
from collections.abc import Sequence
from typing import Any

from hpt_core.errors import DataError

REASONS: dict[str, str] = {
    "malformed": "correct the rows, or take a file of the source's schema",
    "duplicate": "take a source with other questions",
    "no_demonstration": 'set demonstrations = "optional", or take a source with worked solutions',
    "contaminated": "shorten decontaminate, or raise ngram",
    "prompt_too_long": "raise max_prompt_tokens",
    "demonstration_too_long": "raise max_demonstration_tokens",
    "over_context": "lower sampling.max_tokens of the training stages, or raise the model's max_position_embeddings",
    "gold_error": "correct the gold answers: they do not parse",
    "unverified_incorrect": 'set unverified = "flag" to keep them, or correct the answers',
    "unverified_no_answer": 'set unverified = "flag" to keep them, or box the demonstrations\' answers',
    "unverified_timeout": 'set unverified = "flag" to keep them',
    "over_limit": "raise limit",
}
"""Reason for dropping a row -> remedy when no row remains."""
PLACES = 1000
"""Maximum number of rows that the report lists per reason. All rows are counted."""


class RowCounts:
    """Counts of kept and dropped rows."""

    def __init__(self) -> None:
        self.read = 0
        self.kept = 0
        self.verdicts: Counter[str] = Counter()
        self.overlaps: Counter[str] = Counter()
        self._dropped: Counter[str] = Counter()
        self._places: dict[str, list[dict[str, str]]] = defaultdict(list)
        self._prompt_tokens: list[int] = []
        self._demonstration_tokens: list[int] = []

    def drop(self, reason: str, where: str, detail: str = "", benchmark: str = "") -> None:
        """Count a row as dropped for one of REASONS; `detail` is specific to this row, `benchmark` the one that
        contaminates it."""
        if reason not in REASONS:
            raise KeyError(reason)
        self._dropped[reason] += 1
        if benchmark:
            self.overlaps[benchmark] += 1
        if len(self._places[reason]) < PLACES:
            self._places[reason].append({"where": where, "detail": detail} if detail else {"where": where})

    def keep(self, prompt_tokens: int, demonstration_tokens: int | None) -> None:
        """Count a row as kept."""
        self.kept += 1
        self._prompt_tokens.append(prompt_tokens)
        if demonstration_tokens is not None:
            self._demonstration_tokens.append(demonstration_tokens)

    def nothing_left(self) -> DataError:
        """The error when no row was kept. It names the reason that dropped most rows."""
        if not self._dropped:
            return DataError("the source has no rows", "check the file or the source's parameters")
        reason, count = self._dropped.most_common(1)[0]
        first = self._places[reason][0]
        told = f"{first['where']}: {first['detail']}" if "detail" in first else first["where"]
        return DataError(
            f"no question is left: {count} of {self.read} were dropped as {reason} (first: {told})", REASONS[reason]
        )

    def report(self) -> dict[str, Any]:
        """The JSON report: rows_read = rows_kept + the sum of dropped."""
        if self.read != self.kept + self._dropped.total():
            raise RuntimeError(f"{self.read} rows read, {self.kept} kept, {self._dropped.total()} dropped")
        return {
            "rows_read": self.read,
            "rows_kept": self.kept,
            "dropped": {reason: self._dropped[reason] for reason in REASONS},
            "places": dict(self._places),
            "contaminated_by": dict(self.overlaps),
            "demonstration_verdicts": dict(self.verdicts),
            "prompt_tokens": spread(self._prompt_tokens),
            "demonstration_tokens": spread(self._demonstration_tokens),
        }


def spread(values: Sequence[int]) -> dict[str, float] | None:
    """Count, total, minimum, mean, median, 95th percentile and maximum; None if there are no values."""
    if not values:
        return None
    ordered = sorted(values)
    last = len(ordered) - 1
    return {
        "count": len(ordered),
        "total": sum(ordered),
        "min": ordered[0],
        "mean": sum(ordered) / len(ordered),
        "p50": ordered[last // 2],
        "p95": ordered[-(-last * 95 // 100)],
        "max": ordered[-1],
    }
