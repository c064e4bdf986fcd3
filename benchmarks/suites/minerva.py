"""Minerva Math: university questions in mathematics, physics, chemistry and astronomy, as repackaged on the Hub."""

from benchmarks.sources.dataset import Dataset, columns
from benchmarks.suite import Suite

SUITE = Suite(
    name="minerva",
    title="Minerva",
    group="in",
    rows=272,
    kind="math",
    k=1,
    source=Dataset(
        name="minerva",
        hub="math-ai/minervamath",
        revision="ee46ddc498933b1977577953250ca5c66be64f96",
        file="test.jsonl",
        from_hub=columns("question", "answer"),
    ),
)
