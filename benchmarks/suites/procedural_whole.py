"""Chains of two to four operations, one of which covers the whole string. No training chain has such an operation."""

from benchmarks.procedural import SAMPLING, ProceduralQuestions
from benchmarks.suite import Suite

SUITE = Suite(
    name="procedural_whole",
    title="Whole strings",
    group="out",
    rows=100,
    kind="math",
    k=1,
    sampling=SAMPLING,
    source=ProceduralQuestions(families=("whole",), difficulties=(2, 3, 4), rows=100),
)
