"""Mixed: chains whose operations are drawn from the six families that have one kind each."""

from hpt_core.data.procedural import decrease, double, halve, increase, mirror, partner
from hpt_core.data.procedural.base import Chain

FAMILY = Chain(
    "mixed",
    1,
    tuple(module.OPERATION for module in (decrease, double, halve, increase, mirror, partner)),
)
