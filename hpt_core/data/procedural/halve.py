"""Halve: `h24` replaces each of the digits 2 to 4 by the digit that doubles to it, on the circle of 1 to 9."""

from hpt_core.data.procedural.base import Chain, Operation, circle

OPERATION = Operation("h", lambda inside: [circle(5 * digit) for digit in inside])
FAMILY = Chain((OPERATION,))
