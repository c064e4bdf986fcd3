"""Generated training questions with worked solutions (hpt_core.data.procedural)."""

from collections.abc import Iterator
from pathlib import Path
from random import Random
from typing import Any, Literal

from pydantic import Field, field_validator

from hpt_core.data import procedural
from hpt_core.data.procedural import _problems
from hpt_core.data.procedural.base import DIGITS, WIDTH, Family, Problem
from hpt_core.data.sources.base import MalformedRow, SourceConfig, SourceRow
from hpt_core.seeds import derive


class ProceduralProblems(SourceConfig):
    """Distinct problems of the chosen families. No instance is in two splits, whatever the seeds."""

    families: tuple[Family, ...] = Field(
        default=("decrease", "double", "halve", "increase", "mirror", "partner"), validate_default=True, min_length=1
    )
    """Names of the problem families. Problems alternate between them."""
    difficulties: tuple[int, ...] = Field((2, 3, 4), min_length=1)
    """Difficulties, from 1 (for chains: the number of operations). Repeat one to get more of it."""
    rows: int = Field(ge=1)
    """Number of problems."""
    seed: int
    """Seed of the problems."""
    retracted: float = Field(0.0, ge=0, lt=1)
    """Share of the solutions' steps before which a wrong result is written and retracted: `m13 68348 x`, then
    `m13 68318`. The demonstrations stay correct, and are no longer perfect."""
    split: Literal["pretrain", "train"] = "train"
    """Part of the instances to use. Benchmarks use a third part, "test"."""

    @field_validator("difficulties")
    @classmethod
    def _difficulties_count_from_one(cls, value: tuple[int, ...]) -> tuple[int, ...]:
        if min(value) < 1:
            raise ValueError(f"difficulties count from 1, not {min(value)}")
        return value

    def content(self, data_dir: Path | None) -> dict[str, Any]:
        """The parameters and the generator's version."""
        return {**self.identity(), "version": procedural.VERSION}

    def read(self, data_dir: Path | None) -> Iterator[SourceRow | MalformedRow]:
        """Every problem, with its worked solution as the demonstration."""
        problems = _problems.sample(self.families, self.difficulties, self.rows, self.seed, self.split)
        for i, problem in enumerate(problems):
            yield SourceRow(
                where=f"procedural problem {i}",
                question_id=f"{problem.family}-{problem.key[:16]}",
                question=problem.question,
                gold=problem.answer,
                kind="math",
                demonstration=_with_retractions(problem, self.retracted, self.seed),
                family=problem.family,
            )


def _with_retractions(problem: Problem, share: float, seed: int) -> str:
    """The worked solution with wrong results, each marked with an x, before a share of its steps."""
    rng = Random(derive(seed, "retracted", problem.key))
    *steps, answer = problem.solution.split("\n")
    lines = []
    for step in steps:
        if rng.random() < share:
            place = len(step) - rng.randint(1, WIDTH)
            wrong = rng.choice([digit for digit in DIGITS if digit != step[place]])
            lines.append(f"{step[:place]}{wrong}{step[place + 1 :]} x")
        lines.append(step)
    return "\n".join([*lines, answer])
