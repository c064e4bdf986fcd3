"""The definition of a benchmark: its questions, prompt instruction, verifier, sampling and group."""

import hashlib
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Literal

import pyarrow as pa
from pydantic import Field

from hpt_core.base import Frozen, Name
from hpt_core.errors import DataError
from hpt_core.plugins import Plugin
from hpt_core.rollout.base import Sampling
from hpt_core.schemas import QUESTIONS

Group = Literal["in", "out", "other"]
"""In or out of the training data's distribution, as the paper groups benchmarks; or other benchmarks."""
GROUPS: dict[Group, str] = {"in": "in distribution", "out": "out of distribution", "other": "other benchmarks"}
"""Group -> its title, in the order of tables."""


class Question(Frozen):
    """One question of a benchmark."""

    question_id: str
    question: str
    gold: str
    kind: str
    """Name of the verifier."""
    family: str = ""
    """Subject, level or problem family; "" if unknown."""


class QuestionSource(Frozen):
    """Source of a benchmark's questions (a Hub dataset with a local file, or a generator)."""

    @property
    def origin(self) -> str:
        """The data set, as published numbers name theirs; "" if it has no name."""
        return ""

    def needs(self, data_dir: Path | None) -> str:
        """What the source needs, for `hpt plan`; "" if nothing is missing."""
        return ""

    def content(self, data_dir: Path | None) -> dict[str, Any]:
        """What decides the questions, for fingerprints. Raises DataError if a local file is missing."""
        return self.identity()

    def read(self, data_dir: Path | None) -> list[Question]:
        """All questions, in the benchmark's order. Raises DataError."""
        raise NotImplementedError


class Suite(Plugin, Frozen, kind="benchmarks", package="benchmarks.suites"):
    """One benchmark. Each module of benchmarks/suites defines one; so may a user's module."""

    name: Name
    """Name in tables and artifacts. For our suites, the module's name."""
    title: str
    """Title in tables: "AIME 2024"."""
    group: Group
    """In or out of the training data's distribution, or neither. Averages are taken within a group."""
    rows: int = Field(ge=1)
    """Required number of questions. Any other number is an error."""
    kind: str
    """Name of the verifier."""
    source: QuestionSource
    """Where the questions come from."""
    gated: bool = False
    """Whether its text must never be public, as its authors ask. Reports leave out its samples; scores stay."""
    instruction: str | None = None
    """Replaces the prompt's instruction if the benchmark needs its own (multiple choice)."""
    k: int = Field(ge=1)
    """Samples per question: 32 for the small benchmarks, 1 for the others (paper, section 4.1)."""
    sampling: Sampling = Sampling(temperature=0.6, top_p=0.95, max_tokens=8192)
    """Sampling settings (paper, section 4.1)."""

    def load(self, data_dir: Path | None, limit: int | None = None) -> list[Question]:
        """The questions, in the benchmark's order; with a limit, the first `limit` by hash of their id.

        The limited set depends only on the questions, and a smaller limit selects a subset of a larger one's. Raises
        DataError if the source cannot be read, has another number of rows or repeats an id.
        """
        try:
            questions = self.source.read(data_dir)
        except ValueError as error:  # also pydantic's, for a question that is not text
            raise DataError(
                f"the questions of benchmark {self.name} cannot be read: {error}", "correct them"
            ) from error
        if len(questions) != self.rows:
            raise DataError(
                f"benchmark {self.name} has {len(questions)} rows where {self.rows} are expected",
                "replace the data with the version that the suite names; scores on another are not comparable",
            )
        ids = {question.question_id for question in questions}
        if len(ids) != len(questions):
            raise DataError(f"benchmark {self.name} has {len(questions) - len(ids)} repeated question ids")
        if limit is None or limit >= len(questions):
            return questions
        taken = set(sorted(ids, key=_rank)[:limit])
        return [question for question in questions if question.question_id in taken]


def _rank(question_id: str) -> str:
    return hashlib.sha256(f"limit\x1f{question_id}".encode()).hexdigest()


def questions_table(questions: Iterable[Question]) -> pa.Table:
    """The questions as a table of schema QUESTIONS, in their order."""
    return pa.Table.from_pylist([question.model_dump() for question in questions], schema=QUESTIONS)


def suite_names() -> tuple[str, ...]:
    """Names of all benchmarks."""
    return Suite.plugin_kind.names


def get_suite(name: str) -> Suite:
    """The benchmark called `name`. An unknown name raises ConfigError with near matches."""
    suite: Suite = Suite.plugin_kind.load(name)
    return suite
