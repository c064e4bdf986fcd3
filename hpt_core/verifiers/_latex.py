"""Normalizes the LaTeX of answers, and recognizes units and text by their spelling."""

import re

from hpt_core.verifiers._program import rewritten
from hpt_core.verifiers._units import SCALES

_UNICODE = str.maketrans(
    {
        "−": "-", "–": "-", "×": "\\times ", "·": "\\cdot ", "÷": "/", "π": "\\pi ", "∞": "\\infty ", "∪": "\\cup ",
        "≤": "\\le ", "≥": "\\ge ", "≠": "\\ne ", "±": "\\pm ", "°": "^\\circ ", "∈": "\\in ", "，": ",", "；": ";",
        "（": "(", "）": ")", "≈": "\\approx ", "\u00a0": "~", "\u2009": "\\,", "\u202f": "\\,", "％": "%",
        "θ": "\\theta ", "½": "\\frac{1}{2}", "²": "^{2}", "³": "^{3}", "⟨": "(", "⟩": ")", "ℝ": "\\mathbb{R}",
    }
)  # fmt: skip
_JOINING = {"and": " \\land ", "or": " \\lor "}
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
        (r"\\q?quad(?![a-zA-Z])\s*(?=[A-Za-z](?:_\w|_\{\w+\})?\s*=)", ";"),
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
        (r"\\text\{\s*([+-]?[\d.,:]*\d)\s*\}", r" \1 "),
        (r"\\text\{\s*([+-]?\d[\d.,]*)\s+([A-Za-z][^{}]*)\}", r"\1\\text{ \2}"),
        (
            r"\\text\{\s*(arc(?:sin|cos|tan)|sin|cos|tan|cot|sec|csc|ln|log|exp|gcd|min|max)\s*\}(?=\s*[\\({\dA-Za-z])",
            r"\\\1 ",
        ),
        # Letters that are not units: imaginary i, Euler's e, variables.
        (r"(?<=[\w}) +\-*/=(^,])\s*\\text\{\s*([eivxyz])\s*\}", r" \1"),
        (rf"(?<=[\d}}])\s*\\text\{{\s*({'|'.join(SCALES)})\s*\}}", lambda m: SCALES[m.group(1)]),
        (rf"(?<=[\d}}])\s*\\text\{{\s*({'|'.join(SCALES)})\s+(?=\w)", lambda m: SCALES[m.group(1)] + r"\text{"),
        (rf"(?<=[\d}}])\s*({'|'.join(SCALES)})(?![a-zA-Z])", lambda m: SCALES[m.group(1)]),
        (r",?\s*\\text\{\s*,?\s*(and|or)\s*\}\s*", lambda m: _JOINING[m.group(1)]),
        (r"(?<=[\d)\]}])\s*(and|or)\s*(?=[\d(\[\\+-])", lambda m: _JOINING[m.group(1)]),
        (
            r",?\s+(and|or)\s+(?=[\d\\(+-]|[A-Za-z]\w*(?:\([A-Za-z]\))?\s*(?:[=<>]|\\(?:[lg]e|ne|in)(?![a-z])))",
            lambda m: _JOINING[m.group(1)],
        ),
        (r"\\(?:vee|wedge)(?![a-zA-Z])", lambda m: _JOINING[{"\\vee": "or", "\\wedge": "and"}[m.group()]]),
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
_UNIT_SIGN = re.compile(r"(?<=[\d\s})])([mcdk]?m|in|ft|yd|mi)(?=[²³])")
_FENCES = re.compile(r"(?<!\\)(?:\\[()\[\]]|\$)")
_ROW_SPACE = re.compile(r"\\\\\s*\[\s*-?[\d.]+\s*(?:pt|em|ex|mm|cm|in)\s*\]")
"""The optional height after a line break in a matrix."""


def clean(text: str) -> str:
    """A normal form of `text`, without \\boxed{}, dollar signs, spacing commands, bracket sizes and a final period."""
    text = _UNIT_SIGN.sub(r"\\text{\1}", text).translate(_UNICODE).strip()
    if text.startswith("\\boxed{") and text.endswith("}"):
        text = text[len("\\boxed{") : -1]
    text = _FENCES.sub(" ", _ROW_SPACE.sub(r"\\\\", text))
    text = re.sub(r"\.{3,}|…", r"\\ldots ", text)
    for pattern, replacement in _REWRITES:
        text = pattern.sub(replacement, text)
    text = rewritten(text)
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
