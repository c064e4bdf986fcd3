"""The six kinds of operation, for the families that combine them."""

from hpt_core.data.procedural import decrease, double, halve, increase, mirror, partner

OPERATIONS = tuple(module.OPERATION for module in (decrease, double, halve, increase, mirror, partner))
