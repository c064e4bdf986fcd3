"""Mixed: chains whose operations are drawn from the six families that have one kind each."""

from hpt_core.data.procedural import decrease, double, increase, mirror, rotate_left, rotate_right
from hpt_core.data.procedural.base import Chain

FAMILY = Chain(
    "mixed",
    1,
    tuple(module.OPERATION for module in (decrease, double, increase, mirror, rotate_left, rotate_right)),
)
