"""Mirror: `m24` replaces each of the digits from the second to the fourth by what it lacks to ten."""

from hpt_core.data.procedural.base import Chain, Operation

OPERATION = Operation("m", lambda inside: [10 - digit for digit in inside])
FAMILY = Chain((OPERATION,))
