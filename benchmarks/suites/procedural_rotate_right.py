"""Chains of two to four operations: rotate right (hpt_core.data.procedural.rotate_right)."""

from benchmarks.procedural import SAMPLING, ProceduralQuestions
from benchmarks.suite import Suite

SUITE = Suite(
    name="procedural_rotate_right",
    title="Rotate right",
    group="in",
    rows=140,
    kind="math",
    k=1,
    sampling=SAMPLING,
    source=ProceduralQuestions(families=("rotate_right",), difficulties=(2, 3, 4), rows=140),
)
