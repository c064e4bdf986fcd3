"""Chains of five and six operations, longer than any in training."""

from benchmarks.procedural import SAMPLING, ProceduralQuestions
from benchmarks.suite import Suite

SUITE = Suite(
    name="procedural_longer",
    title="Longer chains",
    group="out",
    rows=100,
    kind="math",
    k=1,
    sampling=SAMPLING,
    source=ProceduralQuestions(
        families=("decrease", "double", "halve", "increase", "mirror", "partner"),
        difficulties=(5, 6),
        rows=100,
    ),
)
