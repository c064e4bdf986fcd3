"""The steps of data preparation for each row: clean, deduplicate, decontaminate, measure, verify."""

import hashlib
import unicodedata
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from hpt_core.data.config import DataConfig
from hpt_core.data.decontaminate import OverlapIndex
from hpt_core.data.report import RowCounts
from hpt_core.data.sources.base import MalformedRow, SourceRow
from hpt_core.errors import DataError
from hpt_core.prompts.base import Prompt
from hpt_core.verifiers.base import Outcome, Verdict
from hpt_core.verifiers.pool import Item, VerifierPool


class Candidate(NamedTuple):
    """A source row that has passed every step so far."""

    row: SourceRow
    prompt_tokens: int
    demonstration_tokens: int | None = None
    verdict: str | None = None


class Drop(NamedTuple):
    """A dropped row, with one of report.REASONS."""

    reason: str
    where: str
    detail: str = ""


def normalize(text: str) -> str:
    """Text in composed Unicode (NFC), with line feeds only and no white space at line ends or around the whole."""
    lines = unicodedata.normalize("NFC", text).replace("\r\n", "\n").replace("\r", "\n").split("\n")
    return "\n".join(line.rstrip() for line in lines).strip()


def question_key(question: str) -> str:
    """A hash that two questions share if they differ only in white space."""
    return hashlib.sha256(" ".join(normalize(question).split()).encode()).hexdigest()


class Preparation:
    """The preparation of one data set. `tally` counts every row under the first step that drops it."""

    def __init__(
        self, config: DataConfig, prompt: Prompt, overlaps: OverlapIndex, pool: VerifierPool | None, strict: bool
    ) -> None:
        """`pool` verifies demonstrations; None skips verification. `strict` stops at the first malformed row."""
        self._config = config
        self._prompt = prompt
        self._overlaps = overlaps
        self._pool = pool
        self._strict = strict
        self._keys: dict[str, str] = {}
        self._ids: dict[str, str] = {}
        self.tally = RowCounts()

    @property
    def full(self) -> bool:
        """Whether the limit is reached."""
        return self._config.limit is not None and self.tally.kept >= self._config.limit

    def keep(self, rows: Sequence[SourceRow | MalformedRow]) -> list[Candidate]:
        """The rows to keep, in order. Raises DataError at a malformed row if `strict` is set."""
        self.tally.read += len(rows)
        kept = []
        for result in self._verify([self._measure(self._clean(row)) for row in rows]):
            if isinstance(result, Candidate) and self.full:
                result = Drop("over_limit", result.row.where)
            if isinstance(result, Drop):
                self._drop(result)
            else:
                kept.append(result)
                self.tally.keep(result.prompt_tokens, result.demonstration_tokens)
        return kept

    def _drop(self, drop: Drop) -> None:
        if self._strict and drop.reason == "malformed":
            raise DataError(
                f"{drop.where} is malformed: {drop.detail}", "correct the row, or leave out --strict to drop it"
            )
        self.tally.drop(*drop)

    def _clean(self, row: SourceRow | MalformedRow) -> SourceRow | Drop:
        if isinstance(row, MalformedRow):
            return Drop("malformed", row.where, row.reason)
        try:
            clean = _normalized(row)
        except UnicodeEncodeError:
            return Drop("malformed", row.where, "it contains an unpaired surrogate")
        if not clean.question or not clean.gold:
            return Drop("malformed", row.where, f"the {'gold answer' if clean.question else 'question'} is empty")
        key = question_key(clean.question)
        if key in self._keys:
            return Drop("duplicate", row.where, f"of {self._keys[key]}")
        question_id = clean.question_id or key[:16]
        if question_id in self._ids:
            return Drop("malformed", row.where, f"its id {question_id!r} is also the id of {self._ids[question_id]}")
        self._keys[key] = self._ids[question_id] = row.where
        if clean.demonstration is None and self._config.demonstrations == "required":
            return Drop("no_demonstration", row.where)
        overlap = self._overlaps.find(clean.question)
        if overlap is not None:
            self.tally.overlaps[overlap.benchmark] += 1
            return Drop("contaminated", row.where, f"{overlap.benchmark} {overlap.question_id}")
        return clean._replace(question_id=question_id)

    def _measure(self, row: SourceRow | Drop) -> Candidate | Drop:
        if isinstance(row, Drop):
            return row
        prompt = len(self._prompt.encode(row.question))
        if prompt > self._config.max_prompt_tokens:
            return Drop("prompt_too_long", row.where, f"{prompt} tokens")
        if row.demonstration is None:
            return Candidate(row, prompt)
        demonstration = len(self._prompt.encode_demonstration(row.question, row.demonstration))
        if demonstration > self._config.max_demonstration_tokens:
            return Drop("demonstration_too_long", row.where, f"{demonstration} tokens")
        return Candidate(row, prompt, demonstration)

    def _verify(self, results: list[Candidate | Drop]) -> Iterator[Candidate | Drop]:
        if self._pool is None:
            yield from results
            return
        verdicts = iter(self._pool.verify([_checked(r.row) for r in results if isinstance(r, Candidate)]))
        for result in results:
            yield result if isinstance(result, Drop) else self._judged(result, next(verdicts))

    def _judged(self, question: Candidate, verdict: Verdict) -> Candidate | Drop:
        row = question.row
        if verdict.outcome is Outcome.GOLD_ERROR:
            return Drop("gold_error", row.where, _shown(row.gold))
        if row.demonstration is None:
            return question
        self.tally.verdicts[str(verdict.outcome)] += 1
        if verdict.outcome is Outcome.CORRECT or self._config.unverified == "flag":
            return question._replace(verdict=str(verdict.outcome))
        return Drop(
            f"unverified_{verdict.outcome}", row.where, f"{_shown(verdict.extracted)} against {_shown(row.gold)}"
        )


def _normalized(row: SourceRow) -> SourceRow:
    """The row with normalized texts. Raises UnicodeEncodeError if a text cannot be encoded as UTF-8."""
    clean = row._replace(
        question_id=row.question_id.strip(),
        question=normalize(row.question),
        gold=normalize(row.gold),
        demonstration=normalize(row.demonstration or "") or None,
    )
    "".join(text or "" for text in clean).encode()
    return clean


def _checked(row: SourceRow) -> Item:
    """What to verify: the demonstration, or the gold answer itself if there is none, to detect a malformed one."""
    shown = f"\\boxed{{{row.gold}}}" if row.demonstration is None else row.demonstration
    return Item(row.kind, row.gold, shown, row.question)


def _shown(answer: str | None) -> str:
    return "no answer" if answer is None else repr(answer if len(answer) <= 100 else answer[:100] + "…")
