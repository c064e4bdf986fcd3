"""Mixed: chains whose operations are drawn from all six kinds; the families of one kind never show two in a chain."""

from hpt_core.data.procedural._kinds import OPERATIONS
from hpt_core.data.procedural.base import Chain

FAMILY = Chain(OPERATIONS)
