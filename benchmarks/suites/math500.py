"""MATH-500: 500 questions of the MATH test set. The family is the subject, spelled as in the MATH folders; on the Hub
the level follows: "algebra-3"."""

from benchmarks.sources.dataset import Asked, Dataset
from benchmarks.sources.rows import Row, gold, optional, text
from benchmarks.suite import Suite


def from_hub(row: Row) -> Asked:
    """Columns problem, answer, subject ("Counting & Probability") and level (1 to 5)."""
    subject = text(row, "subject").lower().replace("&", "and").replace(" ", "_")
    return Asked(text(row, "problem"), gold(row, "answer"), f"{subject}-{text(row, 'level')}")


def from_local(row: Row) -> Asked:
    """The id contains the subject: "test/counting_and_probability/119.json"."""
    parts = optional(row, "id").split("/")
    return Asked(text(row, "prompt"), gold(row, "answer"), parts[1] if len(parts) == 3 else "")


SUITE = Suite(
    name="math500",
    title="MATH-500",
    group="in",
    rows=500,
    kind="math",
    k=1,
    source=Dataset(
        name="math500",
        hub="HuggingFaceH4/MATH-500",
        revision="6e4ed1a2a79af7d8630a6b768ec859cb5af4d3be",
        file="test.jsonl",
        from_hub=from_hub,
        from_local=from_local,
    ),
)
