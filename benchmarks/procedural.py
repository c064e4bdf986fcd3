"""Generated benchmarks: held-out instances of the procedural problem families."""

from pathlib import Path
from typing import Any, Literal

from pydantic import Field

from benchmarks.suite import Question, QuestionSource, Suite
from hpt_core.data.procedural import VERSION, _problems
from hpt_core.data.procedural.base import Family
from hpt_core.rollout.base import Sampling

SAMPLING = Sampling(temperature=0.6, top_p=0.95, max_tokens=64)
"""Temperature and top_p of the paper (section 4.1). A worked solution of four operations has 53 characters."""


LEVEL_ROWS = 60
"""Questions of a suite of one level."""


class ProceduralQuestions(QuestionSource):
    """Problems of the test split. They are always the same."""

    families: tuple[Family, ...] = Field(min_length=1)
    """Problem families. Questions alternate between them."""
    difficulties: tuple[int, ...] = Field(min_length=1)
    """Difficulties. Within a family, questions alternate between them."""
    rows: int = Field(ge=1)
    """Number of questions."""
    seed: int = 20_250_904
    """Seed of the problems. A suite's questions never change."""

    def content(self, data_dir: Path | None) -> dict[str, Any]:
        """The parameters and the generator's version."""
        return {**self.identity(), "version": VERSION}

    def read(self, data_dir: Path | None) -> list[Question]:
        """The questions. No training data contains any of them."""
        problems = _problems.sample(self.families, self.difficulties, self.rows, self.seed, "test")
        return [
            Question(
                question_id=f"{problem.family}-{problem.key[:16]}",
                question=problem.question,
                gold=problem.answer,
                kind="math",
                family=f"{problem.family}-{problem.difficulty}",
            )
            for problem in problems
        ]


def level(operations: int, group: Literal["in", "out"] = "in") -> Suite:
    """The suite `procedural_level_N`: chains of `operations` operations, ten of each kind."""
    kinds = ("decrease", "double", "halve", "increase", "mirror", "partner")
    return Suite(
        name=f"procedural_level_{operations}",
        title=f"Level {operations}",
        group=group,
        rows=LEVEL_ROWS,
        kind="math",
        k=4,
        # A worked solution of N operations has 10 N + 13 characters.
        sampling=SAMPLING.model_copy(update={"max_tokens": 10 * operations + 24}),
        source=ProceduralQuestions.model_validate(
            {"families": kinds, "difficulties": (operations,), "rows": LEVEL_ROWS, "seed": 20_250_905}
        ),
    )
