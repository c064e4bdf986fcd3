"""The 40 questions of the American Mathematics Competitions 2023 (12A and 12B) whose answer is a number."""

from benchmarks.sources.dataset import Dataset, columns
from benchmarks.suite import Suite

SUITE = Suite(
    name="amc23",
    title="AMC 2023",
    group="in",
    rows=40,
    kind="math",
    k=32,
    source=Dataset(
        name="amc23",
        hub="math-ai/amc23",
        revision="80815d37005feb82cd7f8fbc6901d5d3eff43057",
        file="test-00000-of-00001.parquet",
        from_hub=columns("question", "answer"),
    ),
)
