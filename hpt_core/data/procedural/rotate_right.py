"""Rotate right: `r24` moves the fourth digit before the second."""

from hpt_core.data.procedural.base import Chain, Operation

OPERATION = Operation("r", lambda inside: inside[-1:] + inside[:-1])
FAMILY = Chain("rotate_right", 1, (OPERATION,))
