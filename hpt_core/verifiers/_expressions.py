"""Expressions: parsed by Math-Verify's parser and compared by value, or by Math-Verify if they have no value."""

import hashlib
import logging
import re
from collections.abc import Iterator
from fractions import Fraction
from functools import lru_cache
from typing import Any

import flint
from flint import fmpq

from hpt_core.verifiers._compare import START_BITS, Pair, equal, near, times
from hpt_core.verifiers._matrices import Rows, rows
from hpt_core.verifiers._numbers import Value, number
from hpt_core.verifiers._values import Evaluation, Imprecise, TooLarge, Undefined, Unsupported

LONGEST = 2000
"""Maximum characters of an expression to parse."""
ROUNDED = fmpq(1, 10**6)
"""Maximum absolute difference between a value with decimals and an exact one..."""
ROUNDED_RELATIVE = fmpq(1, 10**4)
"""...and the maximum relative one."""
DECISIVE = 3
"""Points at which two expressions with variables must have values, all of them equal."""
RANGES = (
    (0.1, 0.9),
    (1.1, 3),
    (0.1, 0.9),
    (-0.9, -0.1),
    (1.1, 3),
    (-3, -1.1),
    (3, 40),
    (-40, -3),
    (500, 2000),
    (-900, -200),
)
"""Ranges of the points for real variables. The first SMALL are near 1, where decimals decide."""
SMALL = 6
WHOLE_RANGES = (
    (1, 9),
    (1, 9),
    (-9, -1),
    (10, 60),
    (1, 9),
    (-60, -10),
    (10, 60),
    (100, 3000),
    (10_000, 10**6),
    (10**8, 10**9),
)
"""Ranges of the points for whole variables."""
_REAL = frozenset("xyztr")
"""Variables that are taken as real numbers inside floors."""


class Expression:
    """A parsed expression. Undefined functions and derivatives count as separate variables."""

    def __init__(self, tree: Any, rounded: bool | None = None) -> None:
        self.tree = tree
        self.rounded = _inexact(tree) if rounded is None else rounded
        """Whether it contains decimals."""

    @classmethod
    def of(cls, value: Value) -> "Expression":
        """A numeral."""
        import sympy

        return cls(sympy.Rational(value.exact.numerator, value.exact.denominator), value.decimal)

    def __sub__(self, other: "Expression") -> "Expression":
        import sympy

        return Expression(sympy.Add(self.tree, sympy.Mul(-1, other.tree, evaluate=False), evaluate=False))

    @property
    def variables(self) -> frozenset[str]:
        """Names of the free variables."""
        return frozenset(str(symbol.name) for symbol in _standing_in(self.tree).free_symbols)

    def equals(self, other: "Expression") -> bool:
        """Whether the two are mathematically equal wherever both have a value."""
        import sympy

        if self.tree == other.tree:
            return True
        try:
            matrices = rows(self.tree), rows(other.tree)
        except Unsupported:
            return False
        if matrices != (None, None):
            return _same_entries(*matrices)
        if self.tree.has(sympy.oo) or other.tree.has(sympy.oo):
            return bool(self.tree.doit() == other.tree.doit())
        pair = _standing_in(self.tree), _standing_in(other.tree)
        rounded = self.rounded != other.rounded
        try:
            found = _agree(pair, rounded)
        except TooLarge:
            return False
        except Unsupported:
            found = None
        return self._equals_by_math_verify(other) if found is None else found

    def _equals_by_math_verify(self, other: "Expression") -> bool:
        from math_verify import verify

        logging.getLogger("math_verify").setLevel(logging.ERROR)  # hides its warning that its own timeout is off
        return bool(verify(_standing_in(self.tree), _standing_in(other.tree), timeout_seconds=None))

    def factor(self, other: "Expression") -> int | None:
        """The sign of the constant c with self = c other, 0 if its sign is unknown; None if there is no such c."""
        pair = _standing_in(self.tree), _standing_in(other.tree)
        if not (pair[0].free_symbols and pair[0].free_symbols == pair[1].free_symbols):
            return None
        try:
            return _factor(pair)
        except (Unsupported, TooLarge):
            return None

    def real(self) -> float | None:
        """The value, if it is a real number."""
        try:
            with flint.ctx.workprec(START_BITS):
                value = Evaluation({}, real=True).of(_standing_in(self.tree))
                return float(flint.arb(value).mid())
        except (Undefined, Unsupported, Imprecise, TooLarge, OverflowError):
            return None

    def rounds_to(self, decimal: Fraction, places: int) -> bool:
        """Whether `decimal`, written with `places` decimals, is this number rounded or cut off there."""
        tree = _standing_in(self.tree)

        def pair() -> tuple[Any, Any, int]:
            return Evaluation({}, real=True).of(tree), fmpq(decimal.numerator, decimal.denominator), 0

        try:
            return near(pair, fmpq(1, 10**places), fmpq(1))
        except (Undefined, Unsupported, Imprecise, TooLarge):
            return False


def _same_entries(one: Rows | None, other: Rows | None) -> bool:
    if one is None or other is None or len(one) != len(other):
        return False
    pairs = zip(one, other, strict=True)
    return all(
        len(left) == len(right) and all(Expression(a).equals(Expression(b)) for a, b in zip(left, right, strict=True))
        for left, right in pairs
    )


def _agree(pair: tuple[Any, Any], rounded: bool) -> bool | None:
    """Whether two trees have equal values wherever both have one; None if that is nowhere."""
    if not (pair[0].free_symbols or pair[1].free_symbols):
        for real in _fields(pair):
            try:
                return _equal_at(pair, {}, real, rounded)
            except Undefined:
                continue
        return None
    for real in _fields(pair):
        decided = 0
        for places in _points(pair, SMALL if rounded else None):
            try:
                if _equal_at(pair, places, real, rounded) is False:
                    return False
                decided += 1
            except (Undefined, TooLarge):
                continue
        if decided >= DECISIVE:
            return True
    return None


def _fields(pair: tuple[Any, Any]) -> tuple[bool, ...]:
    """Whether to calculate with real numbers: first yes, then no; only no if an expression contains i."""
    import sympy

    return (False,) if any(tree.has(sympy.I) for tree in pair) else (True, False)


def _equal_at(pair: tuple[Any, Any], places: dict[Any, fmpq], real: bool, rounded: bool) -> bool | None:
    values = _pair(pair, places, real)
    if not rounded:
        return equal(values)
    try:
        return near(values, ROUNDED, ROUNDED_RELATIVE)
    except Imprecise:
        raise Undefined from None


def _pair(pair: tuple[Any, Any], places: dict[Any, fmpq], real: bool) -> Pair:
    def values() -> tuple[Any, Any, int]:
        evaluations = [Evaluation(places, real) for _ in pair]
        one, other = (evaluation.of(tree) for evaluation, tree in zip(evaluations, pair, strict=True))
        return one, other, sum(evaluation.size for evaluation in evaluations)

    return values


def _factor(pair: tuple[Any, Any]) -> int | None:
    """See Expression.factor. At each point, self(point) other(base) must equal self(base) other(point)."""
    base: dict[Any, fmpq] = {}
    sign, decided = 0, 0
    for places in _points(pair, None):
        try:
            if not base:
                sign = _sign_of_quotient(pair, places)
                base = places if sign else {}
            elif equal(_crossed(pair, places, base)) is False:
                return None
            else:
                decided += 1
        except (Undefined, Imprecise):
            continue
    return sign if decided >= DECISIVE else None


def _sign_of_quotient(pair: tuple[Any, Any], places: dict[Any, fmpq]) -> int:
    """1 or -1; 0 if one of the values is, or may be, zero."""
    with flint.ctx.workprec(START_BITS):
        one, other, _ = _pair(pair, places, True)()
        signs = [1 if value > 0 else -1 if value < 0 else 0 for value in (one, other)]
        return signs[0] * signs[1]


def _crossed(pair: tuple[Any, Any], places: dict[Any, fmpq], base: dict[Any, fmpq]) -> Pair:
    def values() -> tuple[Any, Any, int]:
        one, other, size = _pair(pair, places, True)()
        first, second, first_size = _pair(pair, base, True)()
        return times(one, second), times(first, other), size + first_size

    return values


@lru_cache(maxsize=512)
def parse(text: str) -> Expression | None:
    """The unevaluated expression, or None if Math-Verify's parser cannot read all of it."""
    if len(text) > LONGEST:
        return None
    from latex2sympy2_extended.latex2sympy2 import ConversionConfig, latex2sympy
    from latex2sympy2_extended.math_normalization import NormalizationConfig, normalize_latex
    from sympy.core.parameters import evaluate as unevaluated

    spelling = NormalizationConfig(basic_latex=True, boxed="none")
    try:
        text = _PRIMED.sub(lambda m: rf"\text{{{m[1]}{'prime' * _primes(m[2])}}}", text)
        text = _DEGREES.sub(r"(\\frac{\1\\pi}{180})", text)
        text = _FRACTION_FACTOR.sub(r"\\frac{\1}{\2}", text)
        variables = _NOT_EULER.sub(r"\\text{\1var}", _NOT_CONSTANTS.sub(r"\\text{\1}", text))
        with unevaluated(False):  # sympy would calculate every digit of a binomial
            tree = latex2sympy(
                normalize_latex(variables, spelling),
                is_real=None,
                normalization_config=None,
                conversion_config=ConversionConfig(lowercase_symbols=False),
            )
    except (MemoryError, SystemError):  # CPython raises either when out of memory
        raise
    except Exception:  # the parser raises bare Exceptions, and others on unusual input
        return None
    return None if _lost(text, tree) else Expression(tree)


_PRIMED = re.compile(r"(?<![A-Za-z\\])([A-Za-z])\s*('+|\^\s*\{?\s*(?:\\prime\s*)+\}?)")
"""y'' and f^{\\prime}, whose primes the parser would leave out."""
_DEGREES = re.compile(r"(\d+(?:\.\d+)?)\s*\^\s*\{?\s*\\circ(?![a-zA-Z])\s*\}?")
_NOT_CONSTANTS = re.compile(r"(?<![a-zA-Z\\])(?<!\\text\{)([eEIi](?=\s*_)|I(?![a-zA-Z]|\s*\())")
"""E_0, I_0 and a capital I are variables. The parser would take them as constants or reject them."""
_NOT_EULER = re.compile(r"\\(gamma(?![a-zA-Z])|Gamma(?![a-zA-Z]|\s*\())")
"""Variables too: \\gamma, which the parser takes as the Euler-Mascheroni constant, and \\Gamma without an argument."""
_FRACTION_FACTOR = re.compile(r"(?<![\d.}/^])(\d+)/(\d+)(?=\s+[A-Za-z\\(]|\\(?:pi|sqrt)(?![a-zA-Z]))")
"""In "2/7 \\sqrt{53}" the fraction is a factor, but the parser would divide by the root. "1/2x" is left as it is."""
_SUBSCRIPTED_NUMBER = re.compile(r"\d\s*_")


def _primes(text: str) -> int:
    return text.count("'") + text.count("\\prime")


def _lost(text: str, tree: Any) -> bool:
    """Whether the tree lost part of the text, or is no number or matrix. The parser ignores a numeral's subscript,
    divides by zero and takes a double factorial for two."""
    import sympy

    if _SUBSCRIPTED_NUMBER.search(text) or "!!" in text.replace(" ", ""):
        return True
    if not isinstance(tree, sympy.Expr | sympy.MatrixBase):
        return True
    return bool(tree.has(sympy.zoo, sympy.nan))


def _standing_in(tree: Any) -> Any:
    """The tree with a symbol for each undefined function and derivative, with i and e as constants, and with its
    decimals as exact fractions."""
    import sympy
    from sympy.core.function import AppliedUndef
    from sympy.core.parameters import evaluate

    opaque = tree.atoms(AppliedUndef, sympy.Derivative)
    constants = {"i": sympy.I, "e": sympy.E}
    names = {symbol: constants[symbol.name] for symbol in tree.free_symbols if symbol.name in constants}
    decimals = {number: sympy.Rational(str(number)) for number in tree.atoms(sympy.Float)}
    replaced = {part: sympy.Symbol(str(part)) for part in opaque} | names | decimals
    with evaluate(False):
        return tree.xreplace(replaced) if replaced else tree


def _inexact(tree: Any) -> bool:
    import sympy

    return bool(tree.atoms(sympy.Float))


def _points(pair: tuple[Any, Any], limit: int | None) -> Iterator[dict[Any, fmpq]]:
    """Comparison points. They depend only on the variables' names, so every run gives the same verdict."""
    symbols = sorted(pair[0].free_symbols | pair[1].free_symbols, key=lambda symbol: str(symbol.name))
    whole = set().union(*map(_whole_variables, pair))
    for index, (low, high) in enumerate(RANGES[:limit]):
        places = {}
        for symbol in symbols:
            seed = int.from_bytes(hashlib.sha256(f"{symbol.name} {index}".encode()).digest()[:4], "big")
            if symbol in whole:
                least, largest = WHOLE_RANGES[index]
                places[symbol] = fmpq(least + seed % (largest - least + 1))
                continue
            value = fmpq(int(low * 9973) + seed % int((high - low) * 9973), 9973)
            # Of several variables, some are negative and others positive.
            places[symbol] = -value if low < 0 and len(symbols) > 1 and seed & 1 << 30 else value
        yield places


def _whole_variables(tree: Any) -> set[Any]:
    """Variables that stand for whole numbers: in factorials, binomials, remainders, limits of sums and exponents of
    negative numbers, and in floors if their letter is not one of _REAL."""
    import sympy

    found: set[Any] = set()
    for part in sympy.preorder_traversal(tree):
        if isinstance(
            part, sympy.factorial | sympy.factorial2 | sympy.binomial | sympy.Mod | sympy.Sum | sympy.Product
        ):
            found |= part.free_symbols
        elif isinstance(part, sympy.Pow) and part.base.is_number and part.base.is_negative:
            found |= part.exp.free_symbols
        elif isinstance(part, sympy.floor | sympy.ceiling):
            found |= {symbol for symbol in part.free_symbols if symbol.name not in _REAL}
    return found


def ascending(texts: list[str]) -> list[int] | None:
    """Positions of the texts in ascending order of their values; None if one is no real number or two are equal."""
    values: list[Fraction | float] = []
    for text in texts:
        numeral = number(text)
        if numeral is not None:
            values.append(numeral.exact)
            continue
        expression = parse(text)
        value = None if expression is None else expression.real()
        if value is None:
            return None
        values.append(value)
    order = sorted(range(len(values)), key=values.__getitem__)
    return order if len(set(values)) == len(values) else None
