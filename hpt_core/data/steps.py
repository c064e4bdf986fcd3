"""The steps of data preparation for each row: clean, deduplicate, decontaminate, measure, verify."""

import hashlib
import unicodedata
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import NamedTuple

from hpt_core.data.config import DataConfig, Room
from hpt_core.data.decontaminate import OverlapIndex
from hpt_core.data.report import RowCounts
from hpt_core.data.sources.base import MalformedRow, SourceRow
from hpt_core.data.tokens import TokenCounter, TokenCounts
from hpt_core.errors import DataError
from hpt_core.verifiers.base import Outcome, Verdict, shortened
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
    benchmark: str = ""
    """The benchmark of a contaminated row."""


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
        self,
        config: DataConfig,
        counter: TokenCounter,
        overlaps: OverlapIndex,
        pool: VerifierPool | None = None,
        strict: bool = False,
        room: Room | None = None,
    ) -> None:
        """`pool` verifies demonstrations; None skips verification. `strict` stops at the first malformed row. Rows that
        do not fit into `room` are dropped."""
        self._config = config
        self._counter = counter
        self._limits = TokenCounts(config.max_prompt_tokens, config.max_demonstration_tokens)
        self._room = room
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

    def keep(self, chunks: Iterable[Sequence[SourceRow | MalformedRow]]) -> Iterator[list[Candidate]]:
        """The rows to keep of each chunk, in order, until the limit is reached.

        Tokens are counted in the background while the rows before are verified and the rows after are read and cleaned.
        Raises DataError at a malformed row if `strict` is set.
        """
        with ThreadPoolExecutor(1) as background:
            waiting: Future[list[Candidate | Drop]] | None = None
            for chunk in chunks:
                counting = background.submit(self._measure, [self._clean(row) for row in chunk])
                if waiting is not None:
                    yield self._finish(waiting.result())
                    if self.full:
                        return
                waiting = counting
            if waiting is not None:
                yield self._finish(waiting.result())

    def _finish(self, rows: list[Candidate | Drop]) -> list[Candidate]:
        """Verify and count the rows; returns those to keep."""
        self.tally.read += len(rows)
        kept = []
        for result in self._verify(rows):
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
            return Drop("contaminated", row.where, f"{overlap.benchmark} {overlap.question_id}", overlap.benchmark)
        return clean._replace(question_id=question_id)

    def _measure(self, rows: list[SourceRow | Drop]) -> list[Candidate | Drop]:
        counts = iter(self._counter.count([row for row in rows if isinstance(row, SourceRow)], self._limits))
        return [row if isinstance(row, Drop) else self._fitting(row, next(counts)) for row in rows]

    def _fitting(self, row: SourceRow, tokens: TokenCounts) -> Candidate | Drop:
        for name, count, limit in zip(TokenCounts._fields, tokens, self._limits, strict=True):
            if count is not None and limit is not None and count > limit:
                shown = f"{count} tokens" if count <= 2 * limit else f"more than {2 * limit} tokens"
                return Drop(f"{name}_too_long", row.where, shown)
        if self._room is not None and (problem := self._room.problem(tokens.prompt, tokens.demonstration)):
            return Drop("over_context", row.where, problem)
        return Candidate(row, tokens.prompt, tokens.demonstration)

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
            return Drop("gold_error", row.where, ": ".join(filter(None, (_shown(row.gold), verdict.reason))))
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
    return "no answer" if answer is None else repr(shortened(answer))
