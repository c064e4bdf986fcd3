"""Compares graders on the same samples: ours, plain text comparison, Math-Verify with its defaults, and on request a
model that judges."""

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import combinations

import pyarrow as pa

from hpt_core.evaluation.grade import BATCH, items
from hpt_core.evaluation.judge import FAILED, UNPARSEABLE, Judge
from hpt_core.verifiers.base import Outcome, Verdict
from hpt_core.verifiers.pool import Item, VerifierPool
from hpt_core.verifiers.references import REFERENCES

GRADERS = ("ours", "string", "math_verify")
JUDGE = "judge"
AGREE = "agree"

Progress = Callable[[int, int], None]


@dataclass(frozen=True, slots=True)
class Audited:
    """A sample and each grader's outcome."""

    question_id: str
    sample_index: int
    gold: str
    extracted: str | None
    """The answer as our grader extracts it."""
    ours: str
    """Outcome by name."""
    string: str | None
    """None if the grader does not apply: Math-Verify does not grade multiple choice."""
    math_verify: str | None
    judge: str | None = None
    """See hpt_core.evaluation.judge.JudgeAnswer; None without a judge."""

    @property
    def verdicts(self) -> dict[str, str]:
        """Each grader's outcome. A grader that does not apply is left out, and a judge that gave no verdict."""
        given = {name: getattr(self, name) for name in (*GRADERS, JUDGE)}
        return {name: outcome for name, outcome in given.items() if outcome not in (None, UNPARSEABLE, FAILED)}

    @property
    def passed_by(self) -> tuple[str, ...]:
        """The graders that find the answer correct."""
        return tuple(name for name, outcome in self.verdicts.items() if outcome == Outcome.CORRECT)

    @property
    def disputed(self) -> bool:
        """Whether one grader finds the answer correct and another does not. Different reasons for failure do not
        count."""
        return 0 < len(self.passed_by) < len(self.verdicts)


def audit(
    pool: VerifierPool,
    questions: pa.Table,
    samples: pa.Table,
    verdicts: pa.Table | None,
    progress: Progress | None = None,
    judge: Judge | None = None,
) -> list[Audited]:
    """Every sample with the outcomes of the graders, in order. Takes tables QUESTIONS, SAMPLES and, if graded,
    VERDICTS.

    Our outcome is the stored verdict; a sample without one is graded now. `progress(done, total)` counts samples.
    Raises VerifierError.
    """
    asked = items(questions, samples)
    keys = list(zip(samples["question_id"].to_pylist(), samples["sample_index"].to_pylist(), strict=True))
    stored = {} if verdicts is None else {_key(row): row for row in verdicts.to_pylist()}
    found: list[Audited] = []
    for start in range(0, len(asked), BATCH):
        batch = list(zip(asked[start : start + BATCH], keys[start : start + BATCH], strict=True))
        ours = iter(pool.verify([item for item, key in batch if key not in stored]))
        others = _others(pool, [item for item, _ in batch])
        judged = _judged(judge, [item for item, _ in batch], start, len(asked), progress)
        for (item, key), (string, math_verify), said in zip(batch, others, judged, strict=True):
            row = stored.get(key)
            outcome, extracted = (row["outcome"], row["extracted"]) if row else _plain(next(ours))
            found.append(Audited(*key, item.gold, extracted, outcome, string, math_verify, said))
        if progress is not None:
            progress(len(found), len(asked))
    return found


def counts(audited: Sequence[Audited]) -> dict[str, int]:
    """Number of samples on which the graders agree, and number that each proper subset of graders finds correct
    ("ours", "ours+math_verify"...). Every subset is listed, also with count 0."""
    graders = (*GRADERS, JUDGE) if any(a.judge is not None for a in audited) else GRADERS
    found = Counter("+".join(a.passed_by) if a.disputed else AGREE for a in audited)
    subsets = ("+".join(names) for size in range(1, len(graders)) for names in combinations(graders, size))
    return {name: found[name] for name in (AGREE, *sorted(subsets, key=lambda n: (n.count("+"), n)))}


def judgments(audited: Sequence[Audited]) -> dict[str, int]:
    """Number of the judge's outcomes of each kind, and of its verdicts that each other grader shares: "agrees with
    ours"... of "compared with ours"."""
    outcomes = Counter(a.judge for a in audited)
    found = {name: outcomes[name] for name in (Outcome.CORRECT, Outcome.INCORRECT, UNPARSEABLE, FAILED)}
    for name in GRADERS:
        both = [a for a in audited if JUDGE in a.verdicts and name in a.verdicts]
        same = sum((JUDGE in a.passed_by) == (name in a.passed_by) for a in both)
        found |= {f"agrees_with_{name}": same, f"compared_with_{name}": len(both)}
    return {str(name): count for name, count in found.items()}


def _judged(
    judge: Judge | None, batch: Sequence[Item], start: int, total: int, progress: Progress | None
) -> list[str | None]:
    """The judge's outcomes in order; None without a judge. Reports progress, because a judge is slow."""
    if judge is None:
        return [None] * len(batch)
    report = None if progress is None else lambda done: progress(start + done, total)
    return [judged.outcome for judged in judge.judge(batch, report)]


def _key(row: dict[str, object]) -> tuple[object, object]:
    return row["question_id"], row["sample_index"]


def _plain(verdict: Verdict) -> tuple[str, str | None]:
    return str(verdict.outcome), verdict.extracted


def _others(pool: VerifierPool, asked: Sequence[Item]) -> list[tuple[str | None, str | None]]:
    """(string, Math-Verify) outcomes in order; None if a grader does not apply."""
    outcomes: dict[str, list[str | None]] = {}
    for name in GRADERS[1:]:
        applies = [name in item.resolved.references for item in asked]
        wanted = [item._replace(verifier=REFERENCES[name]) for item, does in zip(asked, applies, strict=True) if does]
        judged = iter(pool.verify(wanted))
        outcomes[name] = [str(next(judged).outcome) if does else None for does in applies]
    return list(zip(outcomes["string"], outcomes["math_verify"], strict=True))
