"""Chains of two to four operations: halve (hpt_core.data.procedural.halve)."""

from benchmarks.procedural import SAMPLING, ProceduralQuestions
from benchmarks.suite import Suite

SUITE = Suite(
    name="procedural_halve",
    title="Halve",
    group="in",
    rows=140,
    kind="math",
    k=1,
    sampling=SAMPLING,
    source=ProceduralQuestions(families=("halve",), difficulties=(2, 3, 4), rows=140),
)
