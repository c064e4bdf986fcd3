"""Chains of two and three operations of different kinds; a training chain has one kind."""

from benchmarks.procedural import SAMPLING, ProceduralQuestions
from benchmarks.suite import Suite

SUITE = Suite(
    name="procedural_mixed",
    title="Mixed chains",
    group="out",
    rows=100,
    kind="math",
    k=1,
    sampling=SAMPLING,
    source=ProceduralQuestions(families=("mixed",), difficulties=(2, 3), rows=100),
)
