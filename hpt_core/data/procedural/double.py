"""Double: `d24` doubles each of the digits 2 to 4, on the circle of 1 to 9."""

from hpt_core.data.procedural.base import Chain, Operation, circle

OPERATION = Operation("d", lambda inside: [circle(2 * digit) for digit in inside])
FAMILY = Chain((OPERATION,))
