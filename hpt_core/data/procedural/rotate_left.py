"""Rotate left: `l24` moves the second digit behind the fourth."""

from hpt_core.data.procedural.base import Chain, Operation

OPERATION = Operation("l", lambda inside: inside[1:] + inside[:1])
FAMILY = Chain("rotate_left", 1, (OPERATION,))
