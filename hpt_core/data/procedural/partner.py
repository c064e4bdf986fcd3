"""Partner: `p24` swaps 1 with 2, 3 with 4, 5 with 6 and 7 with 8 in the digits 2 to 4; 9 stays."""

from hpt_core.data.procedural.base import Chain, Operation

OPERATION = Operation("p", lambda inside: [digit if digit == 9 else digit - 1 + digit % 2 * 2 for digit in inside])
FAMILY = Chain((OPERATION,))
