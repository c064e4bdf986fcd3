"""Chains of two to four operations: increase (hpt_core.data.procedural.increase)."""

from benchmarks.procedural import SAMPLING, ProceduralQuestions
from benchmarks.suite import Suite

SUITE = Suite(
    name="procedural_increase",
    title="Increase",
    group="in",
    rows=140,
    kind="math",
    k=1,
    sampling=SAMPLING,
    source=ProceduralQuestions(families=("increase",), difficulties=(2, 3, 4), rows=140),
)
