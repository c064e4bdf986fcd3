"""The side of an equation that only names what is asked for: x, f(x), (m,n), |AB|, \\frac{AD}{DB}, P(A|B), dy/dx."""

import re

_INDEX = r"(?:_(?:\w|\{[^{}]*\}))?"
_PRIME = r"(?:'+|\^(?:\\prime|\{\\prime+\}|\\ast|\*|\{\*\}|\{\\ast\}))?"
_ACCENT = r"\\(?:over(?:line|rightarrow)|vec|hat|bar|tilde|mathbb|mathcal|mathbf)\s*(?:\{[^{}]*\}|[A-Za-z])"
_WORD = rf"(?:[A-Za-z]|[A-Z][A-Za-z]+|[a-z]{{4,}}|\\[A-Za-z]+|\\text\{{[^{{}}]*\}}|{_ACCENT})"
NAME = re.compile(rf"{_WORD}'*{_INDEX}{_PRIME}(?:\s*\([\w\s,]*\))?")
"""A variable or function: x, M, f(x), m_{\\max}, \\overline{AB}."""
_SEGMENT = r"(?:\\over(?:line|rightarrow)\s*\{[A-Z]{2}\}|[A-Z]'?[A-Z]'?|\|[A-Z]{2}\|)"
_PART = r"(?:[A-Za-z](?:_(?:\w|\{\w+\}))?|\\[a-z]+(?:_\w)?)"
_SEGMENTS = re.compile(
    rf"{_SEGMENT}(?:\s*(?::|/|\+|\\cdot|\\times|-)?\s*{_SEGMENT})*(?:\^(?:\d|\{{\d\}}))?|{_PART}(?:\s*[:/]\s*{_PART})+"
)
"""Lengths of segments, also their sums and products, and ratios of names."""
_FRACTION = re.compile(r"\\frac\{([^{}]+)\}\{([^{}]+)\}|([A-Z]{2})/([A-Z]{2})")
_DERIVATIVE = re.compile(
    r"\\frac\{(?:d|\\partial)(?:\^\{?\d\}?)?\s*\w*(?:\([^()]*\))?\}\{(?:(?:d|\\partial)\s*\w(?:\^\{?\d\}?)?\s*)+\}(?:\s*\([^()]*\))?"
    r"|d[a-z]/d[a-z]|\\d?dot\{?[a-z]\}?"
)
_FUNCTIONAL = re.compile(
    rf"(?:{_WORD}{_INDEX}{_PRIME}|\\(?:Pr|det|dim|ker|deg|gcd|max|min|sin|cos|tan|cot|operatorname\{{\w+\}}))'*\s*"
    r"(?:\(.*\)|\[.*\]|\|.*\||\{?[A-Z]+\}?|\{?\\[a-z]+\}?)",
    re.DOTALL,
)
_ABSOLUTE = re.compile(r"\|\s*\\?[A-Za-z]+(?:_\w)?\s*\||\\l?[vV]ert\s*\\?[A-Za-z]+\s*\\r?[vV]ert|\[[A-Z]{3,}\]")
_TUPLE = re.compile(r"[(\[](.*)[)\]]", re.DOTALL)


def is_name(text: str) -> bool:
    """Whether `text` is one variable, function or angle."""
    text = text.strip()
    return (NAME.fullmatch(text) is not None and text not in ("e", "\\pi", "\\infty")) or text.startswith("\\angle")


def names_a_quantity(text: str) -> bool:
    """Whether `text` only names a quantity, so that an equation with it states that quantity's value.

    "2x + z" and "a^2 + b" do not: there the equation itself is the answer.
    """
    text = text.strip()
    if is_name(text):
        return True
    if tuple_of_names(text):
        return True
    if match := _FRACTION.fullmatch(text):
        above, below = (group for group in match.groups() if group)
        return bool(_DERIVATIVE.fullmatch(text)) or all(
            _SEGMENTS.fullmatch(part.strip()) or _FUNCTIONAL.fullmatch(part.strip()) for part in (above, below)
        )
    if re.match(r"[a-eik-oq-z]\s*\(.*[-+*/^].*\)", text):  # x(y + 1) is a product
        return False
    patterns = (_DERIVATIVE, _SEGMENTS, _ABSOLUTE, _FUNCTIONAL)
    return any(pattern.fullmatch(text) for pattern in patterns) and balanced_call(text)


def tuple_of_names(text: str) -> list[str]:
    """The names in (m,n); [] if it is something else."""
    match = _TUPLE.fullmatch(text.strip())
    names = [part.strip() for part in match.group(1).split(",")] if match else []
    return names if len(names) > 1 and all(map(is_name, names)) else []


def balanced_call(text: str) -> bool:
    """Whether the text's first bracket closes at its end, so that f(x) g(x) is not one call."""
    start = next((at for at, letter in enumerate(text) if letter in "(["), None)
    if start is None:
        return True
    depth = 0
    for at in range(start, len(text)):
        depth += (text[at] in "([") - (text[at] in ")]")
        if depth == 0:
            return at == len(text) - 1 or not text[at + 1 :].strip(" '\\^0123456789{}")
    return False


def same_name(one: str, other: str) -> bool:
    """Whether two names mean the same: alike but for spaces and braces, or one segment or angle: AB and |BA|."""
    return _canonical(one) == _canonical(other)


def _canonical(text: str) -> str:
    bare = re.sub(r"\\overline|\||\\[lr]?[vV]ert", "", spelled(text))
    mark, letters = ("\\angle", bare.removeprefix("\\angle")) if bare.startswith("\\angle") else ("", bare)
    return mark + (min(letters, letters[::-1]) if re.fullmatch("[A-Z]{2,3}", letters) else letters)


def spelled(text: str) -> str:
    """`text` without spaces and braces."""
    return re.sub(r"[\s{}]", "", text)


def is_function(text: str) -> re.Match[str] | None:
    """f(x): its name, its argument."""
    return re.fullmatch(r"\s*([A-Za-z](?:_\w)?)\s*\(\s*([A-Za-z])\s*\)\s*", text)
