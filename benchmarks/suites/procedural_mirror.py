"""Chains of two to four operations: mirror (hpt_core.data.procedural.mirror)."""

from benchmarks.procedural import SAMPLING, ProceduralQuestions
from benchmarks.suite import Suite

SUITE = Suite(
    name="procedural_mirror",
    title="Mirror",
    group="in",
    rows=140,
    kind="math",
    k=1,
    sampling=SAMPLING,
    source=ProceduralQuestions(families=("mirror",), difficulties=(2, 3, 4), rows=140),
)
