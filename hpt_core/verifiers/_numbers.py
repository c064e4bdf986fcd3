"""Reads numerals as exact fractions, without sympy."""

import re
from fractions import Fraction
from typing import NamedTuple

from flint import fmpz

_DIGITS = r"(?:[1-9]\d{0,2}(?:,\d{3})+|\d+)(?:\.\d*)?|\.\d+"
_DECIMAL = re.compile(rf"({_DIGITS})(?:[eE]([+-]?\d{{1,4}})|(?:\\times|\\cdot|\*)10\^(?:\{{([+-]?\d{{1,4}})\}}|(\d)))?")
_POWER_OF_TEN = re.compile(r"10\^(?:\{([+-]?\d{1,4})\}|(\d))")
_FRACTION = re.compile(rf"\\frac(?:\{{([+-]?(?:{_DIGITS}))\}}|(\d))(?:\{{([+-]?(?:{_DIGITS}))\}}|(\d))")
_SLASH = re.compile(rf"({_DIGITS})/({_DIGITS})")
_MIXED = re.compile(r"(\d+)(?:\\frac\{(\d+)\}\{(\d+)\}|\\frac(\d)(\d)| (\d+)/(\d+))")
_REPEATING = re.compile(r"(\d*)\.(\d*)\\(?:overline|bar)(?:\{(\d+)\}|(\d))")
_SPACED = re.compile(r"[1-9]\d{0,2}(?: \d{3})+(?:\.\d+)?")


class Value(NamedTuple):
    """A numeral's exact value. `decimal` is True if a decimal point or exponent may imply rounding."""

    exact: Fraction
    decimal: bool
    places: int | None = None
    """Decimals that are written, for a decimal without a fraction bar."""


def number(text: str) -> Value | None:
    """The value of a numeral: 007, 2,000, -1./3, 4.5e33, 3 \\times 10^{8}, \\frac43, 1\\frac45, 0.1\\overline{6}."""
    spaced = re.sub(r"\s+", " ", text).strip()
    bare = spaced.replace(" ", "")
    sign = 1
    while bare[:1] in ("+", "-"):
        sign *= -1 if bare[0] == "-" else 1
        bare, spaced = bare[1:], spaced[1:].strip()
    value = _unsigned(bare, spaced)
    return None if value is None else value._replace(exact=sign * value.exact)


def _unsigned(bare: str, spaced: str) -> Value | None:
    if match := re.fullmatch(r"(\d+) (\d+)/(\d+)", spaced):
        whole, above, below = map(_whole, match.groups())
        return Value(whole + Fraction(above, below), False) if below else None
    if re.search(r"\d ?,? \.?\d", spaced) and not _SPACED.fullmatch(spaced):
        return None  # two numbers, not one
    if match := _DECIMAL.fullmatch(bare):
        exponent = next((g for g in match.groups()[1:] if g), None)
        value = _literal(match.group(1)) * Fraction(10) ** int(exponent or 0)
        places = len(match.group(1).partition(".")[2]) - int(exponent or 0)
        return Value(value, "." in match.group(1) or exponent is not None, places)
    if match := _REPEATING.fullmatch(bare):
        before, fixed, period = match.group(1), match.group(2), match.group(3) or match.group(4)
        tail = Fraction(_whole(period), 10 ** len(fixed) * (10 ** len(period) - 1))
        return Value(Fraction(_whole(before + fixed or "0"), 10 ** len(fixed)) + tail, False)
    if match := _POWER_OF_TEN.fullmatch(bare):
        return Value(Fraction(10) ** int(match.group(1) or match.group(2)), False)
    if match := _MIXED.fullmatch(bare) or _MIXED.fullmatch(spaced):
        whole, above, below = (_whole(group) for group in match.groups() if group is not None)
        return Value(whole + Fraction(above, below), False) if below else None
    if match := _FRACTION.fullmatch(bare) or _SLASH.fullmatch(bare):
        numerator, denominator = (group for group in match.groups() if group is not None)
        divisor = _literal(denominator)
        if divisor == 0:
            return None
        return Value(_literal(numerator) / divisor, _rounded(numerator) or _rounded(denominator))
    return None


def _literal(text: str) -> Fraction:
    whole, _, decimals = text.replace(",", "").partition(".")
    return Fraction(_whole(whole + decimals), 10 ** len(decimals))


def _whole(digits: str) -> int:
    """An integer of any length; Python's own conversion ends at 4,300 digits."""
    return int(fmpz(digits.removeprefix("+")))


def _rounded(text: str) -> bool:
    return "." in text.rstrip(".")
