"""Expressions: parsed by Math-Verify's parser and compared by value, or by Math-Verify if they have no value."""

import hashlib
import logging
import re
from functools import lru_cache
from typing import Any

LONGEST = 2000
"""Maximum characters of an expression to parse."""
_DIGITS = 40
"""Significant digits of an evaluation."""
_TIGHT = 1e-18
"""Maximum difference of two equal values: relative, and also absolute if they exceed 1."""
_CONSTANT = 1e-30
"""Maximum relative difference of two equal constant quotients. The quotients of x = N and x = N + 1 differ by 1/N^2."""
_ROUNDED = 1e-6
"""Maximum absolute difference between a value with decimals and an exact one. The relative maximum is 1e-4."""
_POINTS = 4
"""Number of points at which expressions with variables are compared."""
_REAL = frozenset("xyztr")
"""Variables that are taken as real numbers inside floors."""
_LARGEST_DIGITS = 20_000
"""Maximum decimal digits of a number to evaluate."""


class Expression:
    """A parsed expression. Undefined functions and derivatives count as separate variables."""

    def __init__(self, tree: Any) -> None:
        self.tree = tree

    def __sub__(self, other: "Expression") -> "Expression":
        import sympy

        return Expression(sympy.Add(self.tree, sympy.Mul(-1, other.tree, evaluate=False), evaluate=False))

    def equals(self, other: "Expression") -> bool:
        """Whether the two are mathematically equal."""
        if self.tree == other.tree:
            return True
        if _too_large(self.tree) or _too_large(other.tree):
            return False
        pair = _standing_in(self.tree), _standing_in(other.tree)
        compared = 0
        for point in _points(*pair):
            values = [_value(tree, point.places) for tree in pair]
            if values[0] is None or values[1] is None:
                continue
            rounded = _inexact(self.tree) != _inexact(other.tree)
            if not (_close(values[0], values[1], rounded) and _close_to_the_unit(pair, values, point.places, rounded)):
                if point.decisive or (abs(values[0].imag) + abs(values[1].imag) == 0):
                    return False
                continue
            compared += point.decisive
        return compared > 0 or self._equals_by_math_verify(other)

    def _equals_by_math_verify(self, other: "Expression") -> bool:
        from math_verify import verify

        logging.getLogger("math_verify").setLevel(logging.ERROR)  # hides its warning that its own timeout is off
        return bool(verify(_exact(self.tree), _exact(other.tree), timeout_seconds=None))

    def proportional(self, other: "Expression") -> bool:
        """Whether the two are equal up to a nonzero constant factor."""
        import mpmath

        if _too_large(self.tree) or _too_large(other.tree):
            return False
        pair = _standing_in(_exact(self.tree)), _standing_in(_exact(other.tree))
        if not (pair[0].free_symbols and pair[0].free_symbols == pair[1].free_symbols):
            return False
        ratios = []
        for point in _points(*pair):
            values = [_value(tree, point.places) for tree in pair]
            if point.decisive and values[0] is not None and values[1] is not None and values[1] != 0:
                with mpmath.workdps(_DIGITS):
                    ratios.append(values[0] / values[1])
        return len(ratios) > 1 and ratios[0] != 0 and all(_close(ratios[0], r, False, _CONSTANT) for r in ratios)


@lru_cache(maxsize=512)
def parse(text: str) -> Expression | None:
    """The unevaluated expression, or None if Math-Verify's parser cannot read all of it."""
    if len(text) > LONGEST:
        return None
    from latex2sympy2_extended.latex2sympy2 import ConversionConfig, latex2sympy
    from latex2sympy2_extended.math_normalization import NormalizationConfig, normalize_latex

    spelling = NormalizationConfig(basic_latex=True, malformed_operators=True, boxed="none")
    try:
        text = _DEGREES.sub(r"(\\frac{\1\\pi}{180})", text)
        text = _FRACTION_FACTOR.sub(r"\\frac{\1}{\2}", text)
        variables = _NOT_EULER.sub(r"\\text{\1}", _NOT_CONSTANTS.sub(r"\\text{\1}", text))
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


_DEGREES = re.compile(r"(\d+(?:\.\d+)?)\s*\^\s*\{?\s*\\circ(?![a-zA-Z])\s*\}?")
_NOT_CONSTANTS = re.compile(r"(?<![a-zA-Z\\])(?<!\\text\{)([eEIi](?=\s*_)|I(?![a-zA-Z]|\s*\())")
"""E_0, I_0 and a capital I are variables. The parser would take them as constants or reject them."""
_NOT_EULER = re.compile(r"\\(gamma(?![a-zA-Z])|Gamma(?![a-zA-Z]|\s*\())")
"""Variables too: \\gamma, which the parser takes as the Euler-Mascheroni constant, and \\Gamma without an argument."""
_FRACTION_FACTOR = re.compile(r"(?<![\d.}/^])(\d+)/(\d+)(?=\s+[A-Za-z\\(]|\\(?:pi|sqrt)(?![a-zA-Z]))")
"""In "2/7 \\sqrt{53}" the fraction is a factor, but the parser would divide by the root. "1/2x" is left as it is."""
_SUBSCRIPTED_NUMBER = re.compile(r"\d\s*_")


def _lost(text: str, tree: Any) -> bool:
    """Whether the tree lost part of the text. The parser ignores a numeral's subscript and divides by zero."""
    import sympy

    if _SUBSCRIPTED_NUMBER.search(text) is not None or not hasattr(tree, "free_symbols"):
        return True
    return bool(tree.has(sympy.zoo, sympy.nan))


def _standing_in(tree: Any) -> Any:
    """The tree with a symbol for each undefined function and derivative, and with i and e as constants."""
    import sympy
    from sympy.core.function import AppliedUndef

    opaque = tree.atoms(AppliedUndef, sympy.Derivative)
    replaced = tree.xreplace({part: sympy.Symbol(str(part)) for part in opaque}) if opaque else tree
    constants = {"i": sympy.I, "e": sympy.E}
    names = {symbol: constants[symbol.name] for symbol in replaced.free_symbols if symbol.name in constants}
    return _exact(replaced.xreplace(names))


def _exact(tree: Any) -> Any:
    """The tree with its decimals as exact fractions."""
    import sympy

    return tree.xreplace({number: sympy.Rational(str(number)) for number in tree.atoms(sympy.Float)})


def _inexact(tree: Any) -> bool:
    import sympy

    return bool(tree.atoms(sympy.Float))


class _Point:
    """Values of the variables. At a decisive point, equal expressions must have equal values."""

    def __init__(self, places: dict[Any, Any], decisive: bool) -> None:
        self.places = places
        self.decisive = decisive


def _points(*trees: Any) -> list[_Point]:
    """Comparison points. They depend only on the variables' names, so every run gives the same verdict."""
    import sympy

    symbols = sorted(set().union(*(tree.free_symbols for tree in trees)), key=lambda symbol: str(symbol.name))
    if not symbols:
        return [_Point({}, True)]
    whole = any(tree.has(sympy.floor, sympy.ceiling, sympy.factorial, sympy.binomial, sympy.Mod) for tree in trees)
    steps = whole and not any(tree.has(sympy.factorial, sympy.binomial, sympy.Mod) for tree in trees)
    points = []
    for index in range(3 * _POINTS if whole else _POINTS + 2):
        places = {}
        for symbol in symbols:
            seed = int.from_bytes(hashlib.sha256(f"{symbol.name} {index}".encode()).digest()[:4], "big")
            value = _place(symbol.name, seed, index, steps) if whole else sympy.Rational(seed % 9973 + 5000, 9973)
            places[symbol] = value if whole or index < _POINTS else value * (-1) ** (seed // 7)
        points.append(_Point(places, whole or index < _POINTS))
    return points


def _place(name: str, seed: int, index: int, steps: bool) -> Any:
    """A value for an integer variable. Where only floors require integers, large values are included too, so that n/100
    takes several integer parts; letters that usually denote real numbers get fractions."""
    import sympy

    if not steps:
        return sympy.Integer(seed % 17 + 2)
    if name in _REAL:
        return sympy.Rational(seed % 99_991, 997)
    return sympy.Integer(seed % (17 if index % 2 else 1999) + 2)


def _value(tree: Any, places: dict[Any, Any], digits: int = _DIGITS) -> Any:
    """A number with `real` and `imag` (mpmath), or None if the tree has no value at that point."""
    import mpmath
    import sympy

    try:
        value = sympy.N(tree, digits, subs=places or None)
        real, imaginary = value.as_real_imag()
        if not (real.is_number and imaginary.is_number and real.is_finite and imaginary.is_finite):
            return _infinity(value)
        with mpmath.workdps(digits):
            return mpmath.mpc(mpmath.mpf(str(real)), mpmath.mpf(str(imaginary)))
    except (MemoryError, SystemError, RecursionError):
        raise
    except Exception:  # sympy raises many exception types for expressions without a value
        return None


def _infinity(value: Any) -> Any:
    import mpmath
    import sympy

    return {sympy.oo: mpmath.mpc("inf"), -sympy.oo: mpmath.mpc("-inf")}.get(value)


def _close(one: Any, other: Any, rounded: bool, tight: float = _TIGHT) -> bool:
    import mpmath

    with mpmath.workdps(_DIGITS):
        if mpmath.isinf(one) or mpmath.isinf(other):
            return bool(one == other)
        difference, scale = abs(one - other), max(abs(one), abs(other))
        if rounded:
            return bool(difference <= _ROUNDED and difference <= 1e-4 * scale)
        return bool(difference <= tight * scale or scale < mpmath.mpf(10) ** (5 - _DIGITS))


def _close_to_the_unit(pair: tuple[Any, Any], values: list[Any], places: dict[Any, Any], rounded: bool) -> bool:
    """Whether close values are also close in absolute terms. 2^{1009} + 1 is relatively very close to 2^{1009}."""
    import mpmath

    scale = max(abs(values[0]), abs(values[1]))
    if scale <= 1 or mpmath.isinf(scale):
        return True
    digits = _DIGITS + int(mpmath.log10(scale))
    one, other = (_value(tree, places, digits) for tree in pair)
    with mpmath.workdps(digits):
        return one is not None and other is not None and bool(abs(one - other) <= (_ROUNDED if rounded else _TIGHT))


def _too_large(tree: Any) -> bool:
    """Whether evaluation would need a number with too many digits (9^{9^9}, (10^9)!)."""
    import sympy

    for part in sympy.preorder_traversal(tree):
        if isinstance(part, sympy.factorial | sympy.factorial2 | sympy.gamma) and _log10(part.args[0]) > 4:
            return True
        if isinstance(part, sympy.Pow | sympy.exp) and not part.free_symbols and _log10(part) > _LARGEST_DIGITS:
            return True
        if isinstance(part, sympy.Pow) and not part.exp.free_symbols and _log10(part.exp) > 5:
            return True
    return False


def _log10(tree: Any) -> float:
    """An upper estimate of |log10 |tree|| for numbers; 0 for expressions with variables."""
    import math

    import sympy

    if tree.free_symbols:
        return 0.0
    if tree.is_Rational:
        return math.log10(max(abs(tree.p), tree.q))
    if isinstance(tree, sympy.Pow):
        exponent = _log10(tree.exp)
        return math.inf if exponent > 300 else _log10(tree.base) * float(10**exponent)
    if isinstance(tree, sympy.Add):
        return max(map(_log10, tree.args)) + math.log10(len(tree.args))
    if isinstance(tree, sympy.Mul):
        return math.fsum(map(_log10, tree.args))
    if isinstance(tree, sympy.exp):
        exponent = _log10(tree.args[0])
        return math.inf if exponent > 300 else float(10**exponent)
    return 1.0
