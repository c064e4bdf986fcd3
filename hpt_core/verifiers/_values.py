"""Values of sympy expressions: exact fractions where possible, otherwise intervals of any precision by FLINT."""

from collections.abc import Callable, Mapping
from typing import Any

from flint import acb, arb, fmpq, fmpz

Number = Any
"""fmpq for an exact value, else arb (real numbers) or acb (complex numbers)."""
Places = Mapping[Any, fmpq]
"""Symbol -> value."""

EXACT_BITS = 4_000_000
"""Maximum bits of an exact fraction. Larger values become intervals."""
LARGEST_FACTORIAL = 300_000
"""Larger factorials of constants become intervals..."""
LARGEST_FACTORIAL_AT_A_POINT = 4_000
"""...and of variables have no value."""
LARGEST_BINOMIAL = 4_000_000
TERMS = 5_000
"""Maximum terms of a sum or product."""
LARGEST_EXPONENT = 1 << 50
"""Maximum exponent, and argument of an exponential or gamma function."""


class Undefined(Exception):
    """No value: a division by zero, or with real numbers a root or logarithm of a negative number."""


class Imprecise(Exception):
    """The interval is too wide to continue. A higher precision may help."""


class Unsupported(Exception):
    """A function that has no rule here."""


class TooLarge(Exception):
    """A number whose logarithm is too large to calculate with: 9^{9^{9^9}}."""


class Evaluation:
    """Evaluates trees at one point, with the precision that FLINT has been set to.

    `real`: odd roots are real, and even roots and logarithms of negative numbers are undefined. Otherwise powers and
    logarithms have their principal values.
    """

    def __init__(self, places: Places, real: bool) -> None:
        self.places = places
        self.real = real
        self.size = 0
        """Sum of |log2 |value|| over all parts. Differences below 2^-size are not expected."""

    def of(self, tree: Any) -> Number:
        """The value of `tree`. Raises Undefined, Imprecise or Unsupported."""
        found = self._value(tree)
        if isinstance(found, fmpq):
            self.size += found.height_bits()
        elif not found.is_finite():
            raise Imprecise
        elif not found.contains(0):
            self.size += _magnitude(found)
        return found

    def _value(self, tree: Any) -> Number:
        if tree.is_Rational:
            return fmpq(int(tree.p), int(tree.q))
        if tree.is_Symbol:
            if tree not in self.places:
                raise Unsupported
            return self.places[tree]
        rule = RULES.get(type(tree).__name__)
        if rule is None:
            raise Unsupported
        return rule(self, tree)

    def parts(self, tree: Any) -> list[Number]:
        """Values of the arguments."""
        return [self.of(part) for part in tree.args]

    def ball(self, value: Number) -> Number:
        """The value as an interval."""
        if self.real:
            return arb(value) if isinstance(value, fmpq) else value
        return value if isinstance(value, acb) else acb(value)

    def power(self, base: Number, exponent: Number) -> Number:
        """base^exponent."""
        if not (isinstance(base, fmpq) and base in (0, 1, -1)):
            _within_limits(exponent)
        if isinstance(exponent, fmpq) and exponent.q == 1:
            return self._whole_power(base, exponent.p)
        if isinstance(base, fmpq) and base == 0:
            return _zero_power(self.ball(exponent))
        odd = isinstance(exponent, fmpq) and exponent.q % 2 == 1
        if self.real and base < 0:
            if not odd:
                raise Undefined
            size = self.power(-base, exponent)
            return -size if exponent.p % 2 else size
        if isinstance(exponent, fmpq) and isinstance(base, fmpq):
            found = _exact_root(base, exponent)
            if found is not None:
                return found
        ball = self.ball(base)
        return _around_zero(ball, exponent) if ball.contains(0) else ball ** self.ball(exponent)

    def _whole_power(self, base: Number, exponent: fmpz) -> Number:
        if isinstance(base, fmpq):
            if base == 0 and exponent < 0:
                raise Undefined
            if base in (0, 1, -1):
                return base ** int(exponent % 2 + 2 if exponent else 0)
            if base.height_bits() * abs(exponent) <= EXACT_BITS:
                return base ** int(exponent)
        return self.ball(base) ** exponent

    def smooth(self, tree: Any, method: str) -> Number:
        """The value of a function of one argument by its method in FLINT, which gives NaN outside its domain."""
        (argument,) = self.parts(tree)
        if method in ("exp", "sinh", "cosh"):
            _within_limits(argument)
        found = getattr(self.ball(argument), method)()
        if not found.is_finite():
            raise Undefined if isinstance(argument, fmpq) else Imprecise
        return found


def bound(value: Number) -> arb:
    """The largest size of the value."""
    bound: arb = abs(arb(value) if isinstance(value, fmpq) else value).upper()
    return bound


def _within_limits(value: Number) -> None:
    if bound(value) > LARGEST_EXPONENT:
        raise TooLarge


def _magnitude(value: Number) -> int:
    """|log2 |value||, for an interval without zero."""
    ball = value if isinstance(value, arb) else abs(value)
    mantissa, exponent = ball.mid().man_exp()
    return abs(int(exponent) + mantissa.bit_length())


def _exact_root(base: fmpq, exponent: fmpq) -> fmpq | None:
    """base^exponent if it is a fraction: 4^{1/2}, (8/27)^{-2/3}; None otherwise, and for negative numbers."""
    if base <= 0 or exponent.q > 64 or base.height_bits() * abs(exponent.p) > EXACT_BITS:
        return None
    degree = int(exponent.q)
    above, below = base.p.root(degree), base.q.root(degree)
    if above**degree != base.p or below**degree != base.q:
        return None
    return fmpq(above, below) ** int(exponent.p)


def _zero_power(exponent: Number) -> fmpq:
    if exponent.real > 0:
        return fmpq(0)
    raise Undefined


def _around_zero(base: Number, exponent: Number) -> Number:
    """A power of an interval that contains zero: all values up to the largest in size."""
    if not (isinstance(exponent, fmpq) and exponent > 0):
        raise Imprecise
    largest = arb(abs(base).upper()) ** arb(exponent)
    ball = arb(0, largest.upper())
    return ball if isinstance(base, arb) else acb(ball, ball)


def _add(self: Evaluation, tree: Any) -> Number:
    exact, rest = fmpq(0), None
    for part in self.parts(tree):
        if isinstance(part, fmpq):
            exact += part
        else:
            rest = part if rest is None else rest + part
    return exact if rest is None else rest + self.ball(exact)


def _multiply(self: Evaluation, tree: Any) -> Number:
    exact, rest = fmpq(1), None
    for part in self.parts(tree):
        if isinstance(part, fmpq):
            exact *= part
        else:
            rest = part if rest is None else rest * part
    return exact if rest is None or exact == 0 else rest * self.ball(exact)


def _power(self: Evaluation, tree: Any) -> Number:
    base, exponent = self.parts(tree)
    return self.power(base, exponent)


def _absolute(self: Evaluation, tree: Any) -> Number:
    (value,) = self.parts(tree)
    return abs(value) if isinstance(value, fmpq | arb) else acb(abs(value))


def _whole(value: Number, method: str) -> fmpq:
    """The floor or ceiling of a real number."""
    if isinstance(value, fmpq):
        return fmpq(getattr(value, method)())
    if isinstance(value, acb):
        if not (value.imag == 0):
            raise Unsupported
        value = value.real
    found = getattr(value, method)().unique_fmpz()
    if found is None:
        raise Imprecise
    return fmpq(found)


def _modulo(self: Evaluation, tree: Any) -> Number:
    value, divisor = self.parts(tree)
    if isinstance(divisor, fmpq) and divisor == 0:
        raise Undefined
    if isinstance(value, fmpq) and isinstance(divisor, fmpq):
        return value - divisor * _whole(value / divisor, "floor")
    value, divisor = self.ball(value), self.ball(divisor)
    return value - divisor * self.ball(_whole(value / divisor, "floor"))


def _natural(value: Number) -> int | None:
    return int(value.p) if isinstance(value, fmpq) and value.q == 1 and value >= 0 else None


def _factorial(self: Evaluation, tree: Any) -> Number:
    (value,) = self.parts(tree)
    whole = _natural(value)
    if whole is not None and whole <= LARGEST_FACTORIAL:
        if self.places and whole > LARGEST_FACTORIAL_AT_A_POINT:
            raise Undefined
        return fmpq(fmpz.fac_ui(fmpz(whole)))
    return _gamma_of(self, value + 1)


def _gamma(self: Evaluation, tree: Any) -> Number:
    (value,) = self.parts(tree)
    return _gamma_of(self, value)


def _gamma_of(self: Evaluation, value: Number) -> Number:
    if isinstance(value, fmpq) and value.q == 1 and value <= 0:
        raise Undefined
    _within_limits(value)
    if self.places and (value > LARGEST_FACTORIAL_AT_A_POINT) is True:
        raise Undefined
    return self.ball(value).gamma()


def _binomial(self: Evaluation, tree: Any) -> Number:
    above, below = self.parts(tree)
    n, k = _natural(above), _natural(below)
    if isinstance(above, fmpq) and above.q == 1 and n is None:
        raise Undefined  # conventions differ
    if isinstance(below, fmpq) and below.q == 1 and k is None:
        return fmpq(0)
    if n is not None and k is not None and n <= LARGEST_BINOMIAL:
        return fmpq(fmpz.bin_uiui(n, k))
    if k is not None and k <= TERMS:
        found = fmpq(1)
        for index in range(k):
            found = found * (above - index) / (index + 1)
        return found
    top, low = self.ball(above), self.ball(below)
    return (top + 1).gamma() * (low + 1).rgamma() * (top - low + 1).rgamma()


def _logarithm(self: Evaluation, tree: Any) -> Number:
    values = self.parts(tree)
    found = [_natural_logarithm(self, value) for value in values]
    if len(found) == 1:
        return found[0]
    if isinstance(found[1], fmpq):
        raise Undefined
    return self.ball(found[0]) / found[1]


def _natural_logarithm(self: Evaluation, value: Number) -> Number:
    if isinstance(value, fmpq) and value == 1:
        return fmpq(0)
    ball = self.ball(value)
    if ball.contains(0):
        raise Undefined if isinstance(value, fmpq) else Imprecise
    if self.real and ball < 0:
        raise Undefined
    return ball.log()


def _extreme(largest: bool) -> Callable[[Evaluation, Any], Number]:
    def rule(self: Evaluation, tree: Any) -> Number:
        values = self.parts(tree)
        if any(isinstance(value, acb) for value in values):
            raise Unsupported
        if all(isinstance(value, fmpq) for value in values):
            return max(values) if largest else min(values)
        found, *rest = map(self.ball, values)
        for value in rest:
            found = found.max(value) if largest else found.min(value)
        return found

    return rule


def _repeated(start: int, combine: Callable[[Number, Number], Number]) -> Callable[[Evaluation, Any], Number]:
    """A sum or product over whole numbers, term by term."""

    def rule(self: Evaluation, tree: Any) -> Number:
        if len(tree.limits) != 1:
            raise Unsupported
        ((index, first, last),) = tree.limits
        if getattr(last, "is_infinite", False) or getattr(first, "is_infinite", False):
            return _done(self, tree)
        low, high = self.of(first), self.of(last)
        if not (isinstance(low, fmpq) and isinstance(high, fmpq) and low.q == 1 and high.q == 1):
            raise Undefined
        if high < low - 1:
            raise Undefined  # conventions differ
        if high - low > TERMS:
            return _done(self, tree)
        outer, found = self.places, fmpq(start)
        try:
            for number in range(int(low.p), int(high.p) + 1):
                self.places = {**outer, index: fmpq(number)}
                term = self.of(tree.function)
                exact = isinstance(found, fmpq) and isinstance(term, fmpq)
                found = combine(found, term) if exact else combine(self.ball(found), self.ball(term))
        finally:
            self.places = outer
        return found

    return rule


def _done(self: Evaluation, tree: Any) -> Number:
    """The value of an integral, derivative, limit or long sum that sympy can work out."""
    found = tree.doit()
    if type(found) is type(tree):
        raise Unsupported
    return self.of(found)


def _constant(method: str) -> Callable[[Evaluation, Any], Number]:
    return lambda self, tree: self.ball(getattr(arb, method)())


def _unit(self: Evaluation, tree: Any) -> Number:
    if self.real:
        raise Undefined
    return acb(0, 1)


def _no_value(self: Evaluation, tree: Any) -> Number:
    raise Undefined


def _smooth(method: str) -> Callable[[Evaluation, Any], Number]:
    return lambda self, tree: self.smooth(tree, method)


_SMOOTH = (
    *("exp", "sin", "cos", "tan", "cot", "sec", "csc", "asin", "acos", "atan"),
    *("sinh", "cosh", "tanh", "coth", "sech", "csch", "asinh", "acosh", "atanh"),
)
RULES: dict[str, Callable[[Evaluation, Any], Number]] = {
    **{name: _smooth(name) for name in _SMOOTH},
    "Add": _add, "Mul": _multiply, "Pow": _power, "Abs": _absolute, "log": _logarithm, "Mod": _modulo,
    "gamma": _gamma, "factorial": _factorial, "binomial": _binomial, "Max": _extreme(True), "Min": _extreme(False),
    "floor": lambda self, tree: _whole(self.parts(tree)[0], "floor"),
    "ceiling": lambda self, tree: _whole(self.parts(tree)[0], "ceil"),
    "acot": lambda self, tree: (1 / self.ball(self.parts(tree)[0])).atan(),
    "UnevaluatedExpr": lambda self, tree: self.parts(tree)[0],
    "Pi": _constant("pi"), "Exp1": _constant("const_e"), "EulerGamma": _constant("const_euler"), "ImaginaryUnit": _unit,
    "Sum": _repeated(0, lambda a, b: a + b), "Product": _repeated(1, lambda a, b: a * b),
    **dict.fromkeys(("Integral", "Derivative", "Limit"), _done),
    **dict.fromkeys(("Infinity", "NegativeInfinity"), _no_value),
}  # fmt: skip
"""Class of a sympy expression -> its rule."""
