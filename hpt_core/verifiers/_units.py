"""Units of quantities: recognized by their spelling, and brought to one name."""

import re

_UNIT_NAMES = {
    "deg": "degree degrees deg",
    "%": "percent percentage pct",
    "mm": "mm millimeter millimeters millimetre millimetres",
    "cm": "cm centimeter centimeters centimetre centimetres",
    "m": "m meter meters metre metres",
    "km": "km kilometer kilometers kilometre kilometres",
    "in": "in inch inches",
    "ft": "ft foot feet",
    "yd": "yd yard yards",
    "mi": "mi mile miles",
    "s": "s sec secs second seconds",
    "min": "min mins minute minutes",
    "h": "h hr hrs hour hours",
    "day": "day days",
    "week": "week weeks",
    "month": "month months",
    "year": "year years yr yrs",
    "kg": "kg kilogram kilograms",
    "g": "g gram grams",
    "mg": "mg milligram milligrams",
    "lb": "lb lbs pound pounds",
    "oz": "oz ounce ounces",
    "l": "l liter liters litre litres",
    "ml": "ml milliliter milliliters millilitre millilitres",
    "mi / h": "mph",
    "km / h": "kph kmh",
    "$": "dollar dollars usd",
    "euro": "euro euros eur",
    "yen": "yen jpy",
    "rupee": "rupee rupees inr",
    "cent": "cent cents",
    "unit": "unit units",
}
_UNITS = {name: unit for unit, names in _UNIT_NAMES.items() for name in names.split()}
_SIGNS = {"\\$": "$", "€": "euro", "£": "lb", "¥": "yen", "₹": "rupee", "¢": "cent"}
_SIGN = "|".join(map(re.escape, _SIGNS))
_SIGN_BEFORE = re.compile(rf"([+-]?)\s*({_SIGN})\s*(\S.*)", re.DOTALL)
_SIGN_BEHIND = re.compile(rf"(.*\S)\s*({_SIGN})", re.DOTALL)
_PRODUCTS = frozenset({"mg", "ml"})
"""Unit names that are products when written without \\text{}: mass times gravity."""
SCALES = {
    "hundred": "\\cdot 100",
    "thousand": "\\cdot 1000",
    "million": "\\cdot 1000000",
    "billion": "\\cdot 1000000000",
    "trillion": "\\cdot 1000000000000",
    "dozen": "\\cdot 12",
}
"""Words that multiply the number before them."""
_FRACTIONS = "half third fourth quarter fifth sixth seventh eighth ninth tenth hundredth thousandth millionth billionth"
_OTHER_WORDS = """
    and or nor not no non neither either is are was were be than least most more less fewer over under above
    below beneath about around approximately roughly nearly almost before after past to till until from off
    minus plus negative times multiplied divided mod modulo choose factorial root squared cubed power reciprocal
    inverse opposite complement twice thrice double doubled triple tripled halved halves between within without
    except excluding short deficit loss owed debt wrong incorrect false maybe perhaps possibly impossible never
    cannot doesn't isn't hardly increased decreased eleven twelve thirteen fourteen fifteen sixteen seventeen
    eighteen nineteen twenty thirty forty fifty sixty seventy eighty ninety eleventh twelfth twelfths twentieth
    twentieths quadrillion quintillion point zero one two three four five six seven eight nine ten score gross
    by
"""
_ALTERING = frozenset(_OTHER_WORDS.split()) | {
    word + ending for word in (*_FRACTIONS.split(), *SCALES) for ending in ("", "s")
}
"""Words behind a number that change it, or say that the number alone is not the answer."""
_SQUARED = {"square": "^2", "sq": "^2", "squared": "^2", "cubic": "^3", "cubed": "^3", "cu": "^3"}
_BASE = re.compile(r"([+-]?(?:[0-9A-Z]*\.)?[0-9A-Z]+)_(?:\{?(\d+)\}?|\{?\\text\{(\w+)\}\}?)")
_NUMBER_WORDS = "two three four five six seven eight nine ten"
_BASES = {name: str(base) for base, name in enumerate(_NUMBER_WORDS.split(), 2)}
_DEGREES = re.compile(r"(.*?)\^\\circ(?:\s*(?:C|F|\\text\{\s*[CF]\s*\}))?", re.DOTALL)
_ANGLE = re.compile(r"\\(?:sin|cos|tan|cot|sec|csc)(?![a-zA-Z])")
"""Functions of an angle. Their degrees belong to the argument and are not the answer's unit."""
_TEXT_UNIT = re.compile(r"(.*?[^\s_^])\s*((?:\\text\{[^{}]*\}(?:\s*\^\s*\{?-?\d\}?)?[\s/]*)+)", re.DOTALL)
_BARE_UNIT = re.compile(r"(.*[\d}%)])\s*([a-z]{2,}(?: [a-z]{2,})*)\s*(?:\^\s*\{?(\d)\}?)?")


def split_unit(text: str) -> tuple[str, str | None]:
    """A leaf's body and its unit in normal form; the unit is None if none is written.

    Inside \\text{}, any word is a unit. Bare letters are a unit only if they follow a number and are known names of at
    least two letters, so "2n" and "\\frac{37}{4} m" stay products.
    """
    text = text.strip()
    if match := _SIGN_BEFORE.fullmatch(text):
        return match.group(1) + match.group(3), _SIGNS[match.group(2)]
    if match := _SIGN_BEHIND.fullmatch(text):
        return match.group(1), _SIGNS[match.group(2)]
    if match := _BASE.fullmatch(text.replace(" ", "")):
        return match.group(1), f"base {match.group(2) or _BASES.get(match.group(3), match.group(3))}"
    if text.endswith("%") and text != "%":
        return text[:-1].strip(), "%"
    if (
        (match := _DEGREES.fullmatch(text))
        and not _ANGLE.search(text)
        and match.group(1).strip()
        and "^\\circ" not in match.group(1)
    ):
        scale = re.sub(r".*\^\\circ|\\text|[{}\s]", "", text)
        return match.group(1).strip(), f"deg {scale}".strip()
    if match := _TEXT_UNIT.fullmatch(text):
        return match.group(1).strip(), unit_name(match.group(2))
    if match := _BARE_UNIT.fullmatch(text):
        words = match.group(2).split()
        if all((word in _UNITS and word not in _PRODUCTS) or word in _SQUARED for word in words):
            return match.group(1).strip(), unit_name(match.group(2) + (f"^{match.group(3)}" if match.group(3) else ""))
    return text, None


def unit_name(text: str) -> str | None:
    """A unit's normal form: "\\text{ square inches}" and "\\text{in}^2" give "in^2", "cups" gives "cup"."""
    flat = re.sub(r"\\text\{([^{}]*)\}", r" \1", text)
    flat = re.sub(r"\s*\^\s*\{?(-?\d)\}?", r"^\1", flat)
    words, power = [], ""
    for word in flat.replace(".", "").casefold().replace("/", " / ").split():
        name, mark, exponent = word.partition("^")
        if name in _SQUARED:
            power = _SQUARED[name]
        elif name == "per":
            words.append("/")
        elif name:
            words.append(_UNITS.get(name, _singular(name)) + mark + exponent)
    return " ".join(words) + power or None


def _singular(name: str) -> str:
    return name[:-1] if len(name) > 3 and name.endswith("s") and not name.endswith("ss") else name


def alters(unit: str) -> bool:
    """Whether what follows a number is more than a unit: "5 or more" is not 5, nor are "5 factorial" and "5 thirds"."""
    return unit.startswith("^") or not _ALTERING.isdisjoint(unit.split())
