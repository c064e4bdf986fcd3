"""Mirror: `m24` replaces each of the digits 2 to 4 by ten minus the digit."""

from hpt_core.data.procedural.base import Chain, Operation

OPERATION = Operation("m", lambda inside: [10 - digit for digit in inside])
FAMILY = Chain((OPERATION,))
