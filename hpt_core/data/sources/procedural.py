"""Training questions made by programs, with worked solutions (hpt_core.data.procedural)."""

from collections.abc import Iterator
from pathlib import Path
from typing import Literal

from pydantic import Field, field_validator

from hpt_core.data.procedural import _draw
from hpt_core.data.sources.base import MalformedRow, SourceConfig, SourceRow
from hpt_core.plugins import names, near


class Config(SourceConfig):
    """Distinct problems of chosen families; no instance is in two splits, whatever the seeds."""

    name: Literal["procedural"] = "procedural"
    families: tuple[str, ...] = Field(("decrease", "double", "halve", "increase", "mirror", "partner"), min_length=1)
    """Problem families, by name; they take turns."""
    difficulties: tuple[int, ...] = Field((2, 3, 4), min_length=1)
    """Difficulties, from 1 (for chains: the number of operations); one that is named twice comes twice as often."""
    rows: int = Field(ge=1)
    """Problems to make."""
    seed: int
    """Seed of the problems."""
    split: Literal["pretrain", "train"] = "train"
    """Which part of the instances to draw from. Benchmarks draw from a third one."""

    @field_validator("families")
    @classmethod
    def _families_exist(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        for family in value:
            if family not in names(_draw.PACKAGE):
                raise ValueError(f"unknown family {family!r}; {near(family, names(_draw.PACKAGE))}")
        return value

    @field_validator("difficulties")
    @classmethod
    def _difficulties_count_from_one(cls, value: tuple[int, ...]) -> tuple[int, ...]:
        if min(value) < 1:
            raise ValueError(f"difficulties count from 1, not {min(value)}")
        return value

    def identity(self, data_dir: Path | None) -> dict[str, object]:
        """The parameters and the version of each family's generator."""
        return {**self.model_dump(mode="json"), "versions": _draw.versions(self.families)}

    def read(self, data_dir: Path | None) -> Iterator[SourceRow | MalformedRow]:
        """Every problem, with its worked solution as the demonstration."""
        problems = _draw.draw(self.families, self.difficulties, self.rows, self.seed, self.split)
        for i, problem in enumerate(problems):
            yield SourceRow(
                where=f"procedural problem {i}",
                question_id=f"{problem.family}-{problem.key[:16]}",
                question=problem.question,
                gold=problem.answer,
                kind="math",
                demonstration=problem.solution,
                family=problem.family,
            )
