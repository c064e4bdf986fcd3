"""Normalizes the LaTeX of answers, and recognizes units and text by their spelling."""

import re

_UNICODE = str.maketrans(
    {
        "−": "-", "–": "-", "×": "\\times ", "·": "\\cdot ", "÷": "/", "π": "\\pi ", "∞": "\\infty ", "∪": "\\cup ",
        "≤": "\\le ", "≥": "\\ge ", "≠": "\\ne ", "±": "\\pm ", "°": "^\\circ ", "∈": "\\in ", "，": ",", "；": ";",
        "（": "(", "）": ")", "≈": "\\approx ", "\u00a0": "~", "\u2009": "\\,", "\u202f": "\\,", "％": "%",
        "θ": "\\theta ", "½": "\\frac{1}{2}", "²": "^{2}", "³": "^{3}", "⟨": "(", "⟩": ")", "ℝ": "\\mathbb{R}",
    }
)  # fmt: skip
_SCALES = {
    "hundred": "\\cdot 100",
    "thousand": "\\cdot 1000",
    "million": "\\cdot 1000000",
    "billion": "\\cdot 1000000000",
    "trillion": "\\cdot 1000000000000",
    "dozen": "\\cdot 12",
}
_REWRITES = [
    (re.compile(pattern), replacement)
    for pattern, replacement in (
        (r"\\(?:left|right|bigl?|bigr?|Bigl?|Bigr?|displaystyle|textstyle|limits)(?![a-zA-Z])\s*\.?(?=[^0-9]|$)", ""),
        (r"\\(?:lbrace|lbrack|lparen)(?![a-zA-Z])", lambda m: {"e": "\\{", "k": "[", "n": "("}[m.group()[-1]]),
        (r"\\(?:rbrace|rbrack|rparen)(?![a-zA-Z])", lambda m: {"e": "\\}", "k": "]", "n": ")"}[m.group()[-1]]),
        (r"\\text\s*\{\s*([,;]?)\s*\}", r"\1 "),
        (r"\\langle(?![a-zA-Z])", "("),
        (r"\\rangle(?![a-zA-Z])", ")"),
        (r"\{\s*,\s*\}|,\s*\\!\s*", ","),
        (r"(?<=\d)(?:\\[,;: ]|~)(?=\d{3}(?!\d))", ","),
        (r"(?<!\\)\\[!,;:> ]|\\quad(?![a-zA-Z])|\\qquad(?![a-zA-Z])|~", " "),
        (r"\\[dtc]frac(?![a-zA-Z])", r"\\frac"),
        (r"\\(?:leq|leqslant)(?![a-zA-Z])", r"\\le"),
        (r"\\(?:geq|geqslant)(?![a-zA-Z])", r"\\ge"),
        (r"\\neq(?![a-zA-Z])|\\not\s*=", r"\\ne "),
        (r"\\(?:lt|gt)(?![a-zA-Z])", lambda m: "<" if m.group() == "\\lt" else ">"),
        (
            r"\\(?:mathrm|mathbf|mathit|mathsf|textbf|textit|textrm|textnormal|mbox|operatorname\*?|rm)\s*(?=\{)",
            r"\\text",
        ),
        (r"\\text\s+(?=\{)", r"\\text"),
        (r"\\(?:boldsymbol|bm)\s*\{([^{}]*)\}", r"{\1}"),
        (r"\\text\{\s*([+-]?[\d.,]*\d)\s*\}", r" \1 "),
        (r"\\text\{\s*([+-]?\d[\d.,]*)\s+([A-Za-z][^{}]*)\}", r"\1\\text{ \2}"),
        (
            r"\\text\{\s*(arc(?:sin|cos|tan)|sin|cos|tan|cot|sec|csc|ln|log|exp|gcd|min|max)\s*\}(?=\s*[\\({\dA-Za-z])",
            r"\\\1 ",
        ),
        # Letters that are not units: imaginary i, Euler's e, variables.
        (r"(?<=[\w}) ])\s*\\text\{\s*([eivxyz])\s*\}", r" \1"),
        (rf"(?<=[\d}}])\s*\\text\{{\s*({'|'.join(_SCALES)})\s*\}}", lambda m: _SCALES[m.group(1)]),
        (rf"(?<=[\d}}])\s*\\text\{{\s*({'|'.join(_SCALES)})\s+(?=\w)", lambda m: _SCALES[m.group(1)] + r"\text{"),
        (rf"(?<=[\d}}])\s*({'|'.join(_SCALES)})(?![a-zA-Z])", lambda m: _SCALES[m.group(1)]),
        (r",?\s*\\text\{\s*(?:and|or)\s*\}\s*|,?\s+(?:and|or)\s+(?=[\d\\(+-])", ";"),
        (r"\^\s*\{\s*\\circ\s*\}|\^\s*\\circ(?![a-zA-Z])|\\degree(?![a-zA-Z])", r"^\\circ "),
        (r"\\%|\\text\{\s*\\?%\s*\}", "%"),
        (r"\\emptyset(?![a-zA-Z])|\\varnothing(?![a-zA-Z])|∅", r"\\{\\}"),
        (r"\\lg(?![a-zA-Z])", r"\\log_{10}"),
        (r"\\log_(?:e(?![a-zA-Z])|\{e\})", r"\\ln "),
        (r"_\{\\odot\}|_\\odot(?![a-zA-Z])", "_{sun}"),
        (r"\bnp\.(arc)?(sin|cos|tan)\b", r"\\\1\2"),
        (r"\\exp\s*\{([^{}]*)\}", r"e^{\1}"),
    )
]
_FENCES = re.compile(r"(?<!\\)(?:\\[()\[\]]|\$)")
_ROW_SPACE = re.compile(r"\\\\\s*\[\s*-?[\d.]+\s*(?:pt|em|ex|mm|cm|in)\s*\]")
"""The optional height after a line break in a matrix."""


def clean(text: str) -> str:
    """A normal form of `text`, without \\boxed{}, dollar signs, spacing commands, bracket sizes and a final period."""
    text = text.translate(_UNICODE).strip()
    if text.startswith("\\boxed{") and text.endswith("}"):
        text = text[len("\\boxed{") : -1]
    text = _FENCES.sub(" ", _ROW_SPACE.sub(r"\\\\", text))
    for pattern, replacement in _REWRITES:
        text = pattern.sub(replacement, text)
    return re.sub(r"\s+", " ", text).strip().rstrip(".,").strip()


def strip_outer_braces(text: str) -> str:
    """`text` without braces that enclose all of it."""
    while text.startswith("{") and text.endswith("}"):
        depth = 0
        for position, letter in enumerate(text):
            depth += (letter == "{") - (letter == "}")
            if depth == 0 and position < len(text) - 1:
                return text
        text = text[1:-1].strip()
    return text


_WORDS = re.compile(r"\\text\{([^{}\\]*)\}")
_PLAIN = re.compile(r"[^\W\d_][\w'’.-]*(?:[ ,]+[\w'’.-]+)*", re.UNICODE)
_CLOCK = re.compile(r"(\d{1,2}):(\d\d)([AaPp])\.?[Mm]\.?")


def plain_text(text: str) -> str | None:
    """The case-folded words of a textual answer ("\\text{June 20}", "yes", "(C)", "3:30 PM"); None for mathematics.

    Bare letters count as words if there are at least three in a row or several words: "pq" is a product, "no" is not.
    """
    if time := _CLOCK.fullmatch(re.sub(r"\\text|[{}\s]", "", text)):
        return f"{time.group(1)}:{time.group(2)} {time.group(3)}m".casefold()
    wrapped = _WORDS.fullmatch(text.strip())
    words = (wrapped.group(1) if wrapped else text).strip().strip("().").strip()
    if not _PLAIN.fullmatch(words):
        return None
    if (
        wrapped is None
        and words.casefold() != "no"
        and (not re.search(r"[^\W\d_]{3}", words) or re.search(r"[_^=]|\b\w\b \b\w\b", words))
    ):
        return None
    return " ".join(_folded(word) for word in re.split(r"[\s,]+", words))


def _folded(word: str) -> str:
    """A word in lower case; other letters unchanged. "mgh" and "aBc" are products, in which case matters."""
    is_word = re.search("[aeiouy]", word, re.IGNORECASE) and (word.islower() or word.isupper() or word.istitle())
    return word.casefold() if is_word or not word.isalpha() or len(word) < 3 else word


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
    "cent": "cent cents",
    "unit": "unit units",
}
_UNITS = {name: unit for unit, names in _UNIT_NAMES.items() for name in names.split()}
_PRODUCTS = frozenset({"mg", "ml"})
"""Unit names that are products when written without \\text{}: mass times gravity."""
_SQUARED = {"square": "^2", "sq": "^2", "squared": "^2", "cubic": "^3", "cubed": "^3", "cu": "^3"}
_BASE = re.compile(r"([0-9A-Z]+)_\{?(\d+)\}?|([0-9A-Z]+)_\{?\\text\{(\w+)\}\}?")
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
    if text.startswith("\\$"):
        return text[2:].strip(), "$"
    if text.endswith("\\$"):
        return text[:-2].strip(), "$"
    if match := _BASE.fullmatch(text.replace(" ", "")):
        return match.group(1) or match.group(3), f"base {match.group(2) or _BASES.get(match.group(4), match.group(4))}"
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
