"""Chains of two to four operations: double (hpt_core.data.procedural.double)."""

from benchmarks.procedural import SAMPLING, ProceduralQuestions
from benchmarks.suite import Suite

SUITE = Suite(
    name="procedural_double",
    title="Double",
    group="in",
    rows=140,
    kind="math",
    k=1,
    sampling=SAMPLING,
    source=ProceduralQuestions(families=("double",), difficulties=(2, 3, 4), rows=140),
)
