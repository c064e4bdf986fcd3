"""Mixed: chains that combine all six kinds of operation. The single-kind families never combine two kinds."""

from hpt_core.data.procedural._kinds import OPERATIONS
from hpt_core.data.procedural.base import Chain

FAMILY = Chain(OPERATIONS)
