"""The 83 questions of the American Mathematics Competitions 12 of 2022 and 2023 in AIMO's validation set, on which the
paper's authors measured. `amc23` has 40 questions of 2023."""

from benchmarks.sources.dataset import Asked, Dataset, columns
from benchmarks.sources.rows import Row, text
from benchmarks.suite import Suite


def from_local(row: Row) -> Asked:
    """Answers are floats as text: "142.0"."""
    return Asked(text(row, "prompt"), text(row, "answer").removesuffix(".0"))


SUITE = Suite(
    name="amc",
    title="AMC",
    group="in",
    rows=83,
    kind="math",
    k=32,
    source=Dataset(
        name="amc",
        hub="AI-MO/aimo-validation-amc",
        revision="8ef249608d65c2de7763ca7525f438e540ba285e",
        file="data/train-00000-of-00001.parquet",
        from_hub=columns("problem", "answer"),
        from_local=from_local,
    ),
)
