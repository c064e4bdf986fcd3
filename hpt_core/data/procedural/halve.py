"""Halve: `h24` replaces each of the digits from the second to the fourth by what doubles to it on the circle."""

from hpt_core.data.procedural.base import Chain, Operation, circle

OPERATION = Operation("h", lambda inside: [circle(5 * digit) for digit in inside])
FAMILY = Chain((OPERATION,))
