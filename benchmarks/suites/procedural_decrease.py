"""Chains of two to four operations: decrease (hpt_core.data.procedural.decrease)."""

from benchmarks.procedural import SAMPLING, ProceduralQuestions
from benchmarks.suite import Suite

SUITE = Suite(
    name="procedural_decrease",
    title="Decrease",
    group="in",
    rows=140,
    kind="math",
    k=1,
    sampling=SAMPLING,
    source=ProceduralQuestions(families=("decrease",), difficulties=(2, 3, 4), rows=140),
)
