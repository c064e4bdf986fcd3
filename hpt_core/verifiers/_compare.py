"""Whether two values are equal, at whatever precision that takes.

The error of an interval is computed, so two values whose intervals do not meet are different for certain. Values whose
intervals still meet at a precision far beyond the sizes of all numbers in the expressions count as equal.
"""

from collections.abc import Callable

import flint
from flint import acb, arb, fmpq

from hpt_core.verifiers._values import Imprecise, Number, TooLarge, Undefined, bound

START_BITS = 128
MOST_BITS = 1 << 21
IMPRECISE_BITS = 1 << 12
"""A value too wide to calculate with even at this precision does not exist, such as the arcsine of 1.3 sin(2)."""
MARGIN = 100
"""Bits of precision beyond those that the sizes of the numbers account for."""

Pair = Callable[[], tuple[Number, Number, int]]
"""Evaluates with FLINT's present precision: two values, and the size of the numbers in them (Evaluation.size)."""


def equal(pair: Pair) -> bool | None:
    """Whether two values are equal; None if even the highest precision does not tell. Raises Undefined and
    Unsupported."""
    bits = START_BITS
    while True:
        with flint.ctx.workprec(bits):
            try:
                one, other, size = pair()
            except Imprecise:
                if bits >= IMPRECISE_BITS:
                    raise Undefined from None
                size = bits
            else:
                if isinstance(one, fmpq) and isinstance(other, fmpq):
                    return bool(one == other)
                gap = _difference(one, other)
                if not gap.contains(0):
                    return False
                if size > MOST_BITS // 2:
                    raise TooLarge
                scale = max(arb(1), bound(one))
                # Nothing that numbers of this size can leave over is smaller.
                if bound(gap) <= scale * arb(2) ** -(size + MARGIN):
                    return True
        if bits >= MOST_BITS:
            return None
        bits = min(max(2 * bits, size + 2 * MARGIN), MOST_BITS)


def near(pair: Pair, absolute: fmpq, relative: fmpq) -> bool:
    """Whether two values differ by at most `absolute`, and by at most `relative` of the larger. Raises Undefined,
    Imprecise and Unsupported."""
    with flint.ctx.workprec(START_BITS):
        one, other, _ = pair()
        gap, scale = bound(_difference(one, other)), max(bound(one), bound(other))
        return bool(gap <= arb(absolute) and gap <= arb(relative) * scale)


def _difference(one: Number, other: Number) -> Number:
    if isinstance(one, acb) or isinstance(other, acb):
        return acb(one) - acb(other)
    return arb(one) - arb(other)


def times(one: Number, other: Number) -> Number:
    """The product."""
    if isinstance(one, fmpq) and isinstance(other, fmpq):
        return one * other
    return arb(one) * arb(other)
