"""Decrease: `-24` subtracts one from each of the digits 2 to 4, on the circle of 1 to 9."""

from hpt_core.data.procedural.base import Chain, Operation, circle

OPERATION = Operation("-", lambda inside: [circle(digit - 1) for digit in inside])
FAMILY = Chain((OPERATION,))
