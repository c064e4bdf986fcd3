"""Chains of two to four operations: rotate left (hpt_core.data.procedural.rotate_left)."""

from benchmarks.procedural import SAMPLING, ProceduralQuestions
from benchmarks.suite import Suite

SUITE = Suite(
    name="procedural_rotate_left",
    title="Rotate left",
    group="in",
    rows=140,
    kind="math",
    k=1,
    sampling=SAMPLING,
    source=ProceduralQuestions(families=("rotate_left",), difficulties=(2, 3, 4), rows=140),
)
