"""Chains of two to four operations: partner (hpt_core.data.procedural.partner)."""

from benchmarks.procedural import SAMPLING, ProceduralQuestions
from benchmarks.suite import Suite

SUITE = Suite(
    name="procedural_partner",
    title="Partner",
    group="in",
    rows=140,
    kind="math",
    k=1,
    sampling=SAMPLING,
    source=ProceduralQuestions(families=("partner",), difficulties=(2, 3, 4), rows=140),
)
