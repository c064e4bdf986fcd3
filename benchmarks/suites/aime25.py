"""The American Invitational Mathematics Examination 2025, both papers. Answers are integers from 0 to 999."""

from benchmarks.sources.dataset import Dataset, columns
from benchmarks.suite import Suite

SUITE = Suite(
    name="aime25",
    title="AIME 2025",
    group="in",
    rows=30,
    kind="math",
    k=32,
    source=Dataset(
        name="aime25",
        hub="math-ai/aime25",
        revision="563bb8404243c5f09de6ec262f2db674fe5bce9b",
        file="test.jsonl",
        from_hub=columns("problem", "answer"),
    ),
)
