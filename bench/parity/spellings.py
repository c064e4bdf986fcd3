"""Gold answers in other notations, which graders must accept, and near misses, which they must reject."""

import re
from collections.abc import Callable
from fractions import Fraction

INTEGER = re.compile(r"-?\d+")
THOUSANDS = re.compile(r"(?:\\\$)?\d{1,3}(?:,(?:\\!)? ?\d{3})+")
"""A number whose commas separate thousands, not answers."""
NUMBER = re.compile(r"-?\d+(\.\d+)?")
FRACTION = re.compile(r"(-?)\\frac\{(\d+)\}\{(\d+)\}")
UNIT = re.compile(r"(?<=[\d}])\s*(?:\\text\s*\{[^{}]*\}|\\mathrm\s*\{[^{}]*\}|\^\s*\{?\\circ\}?|\\?%)\s*$")


def _assigned(gold: str) -> str | None:
    return None if re.search(r"[=<>,]|\\le|\\ge|\\text", gold) else f"x = {gold}"


def _point_zero(gold: str) -> str | None:
    return f"{gold}.0" if INTEGER.fullmatch(gold) else None


def _thousands(gold: str) -> str | None:
    return f"{int(gold):,}".replace(",", "{,}") if INTEGER.fullmatch(gold) and abs(int(gold)) > 999 else None


def _dfrac(gold: str) -> str | None:
    return gold.replace("\\frac", "\\dfrac") if "\\frac" in gold else None


def _slash(gold: str) -> str | None:
    match = FRACTION.fullmatch(gold)
    return "{}{}/{}".format(*match.groups()) if match else None


def _decimal(gold: str) -> str | None:
    match = FRACTION.fullmatch(gold)
    if not match or not int(match.group(3)):
        return None
    value = Fraction(int(match.group(1) + match.group(2)), int(match.group(3)))
    text = f"{float(value):.12g}"
    return text if Fraction(text) == value else None


def _rounded(gold: str) -> str | None:
    """A fraction without a finite decimal form, rounded to six places."""
    match = FRACTION.fullmatch(gold)
    if not match or not int(match.group(3)) or _decimal(gold):
        return None
    return f"{int(match.group(1) + match.group(2)) / int(match.group(3)):.6f}"


def _left_right(gold: str) -> str | None:
    plain = re.fullmatch(r"\(([^()\[\]]*)\)", gold)
    return f"\\left( {plain.group(1)} \\right)" if plain else None


def _unit_dropped(gold: str) -> str | None:
    shorter = UNIT.sub("", gold).strip()
    return shorter if shorter and shorter != gold else None


def _unit_added(gold: str) -> str | None:
    return f"{gold} \\text{{ cm}}" if NUMBER.fullmatch(gold) else None


def _reversed(gold: str) -> str | None:
    parts = [part.strip() for part in gold.split(",")]
    simple = (
        len(parts) > 1
        and not THOUSANDS.fullmatch(gold)
        and all(part and not re.search(r"[()\[\]{}]", part) for part in parts)
    )
    return ", ".join(reversed(parts)) if simple else None


def _near(gold: str) -> str | None:
    """The number times 1.001."""
    if not NUMBER.fullmatch(gold) or not Fraction(gold):
        return None
    return f"{float(Fraction(gold) * Fraction(1001, 1000)):.10g}"


def _negated(gold: str) -> str | None:
    return f"-{gold}" if NUMBER.fullmatch(gold) and not gold.startswith("-") and Fraction(gold) else None


FORMS: dict[str, Callable[[str], str | None]] = {
    "x = ...": _assigned,
    "5.0": _point_zero,
    "2{,}000": _thousands,
    "\\dfrac": _dfrac,
    "a/b": _slash,
    "decimal": _decimal,
    "six places": _rounded,
    "\\left(": _left_right,
    "without its unit": _unit_dropped,
    "with a unit": _unit_added,
    "other order": _reversed,
    "0.1 % off": _near,
    "other sign": _negated,
}
"""Name -> a function that rewrites a gold answer; it returns None if the form does not apply."""
