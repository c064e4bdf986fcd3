"""Words around an answer inside its box: "the answer is 10", "f(x) = 5x + c for every c", "all reals except 3"."""

import re

_INTRODUCTION = re.compile(
    r"(?:\\text\{)?[\s,:]*[A-Za-z][A-Za-z'’ ,]*\s(?:is|are|equals?|be|gives?|get|have|obtain)\s*"
    r"(?:equal\s+to|given\s+by)?\s*:?\s*(?:\}\s*:?\s*|\$\s*)?(?=\S)|(?:\\text\{)?\s*(?:(?:the|our)\s+)?(?:final\s+|correct\s+)?(?:answer|solution|result)s?\s*[:=]\s*\}?\s*(?=\S)"
    r"|\\text\{\s*(?:so|thus|hence|therefore|then)[\s,:]*\}\s*(?=\S)|(?:so|thus|hence|therefore),?\s+(?=[^\sA-Za-z])",
    re.IGNORECASE,
)
_CONCLUSION = re.compile(
    r"\s*(?:\\text\{)?\s*,?\s*(?:is|are|as)\s+(?:the|our)\s+(?:final\s+|correct\s+|only\s+)?(?:answer|solution|result)s?\s*\}?\s*",
    re.IGNORECASE,
)
_QUALIFIER = re.compile(
    r"[\s,;]*(?:\(\s*)?(?:\\text\{\s*[,(]?\s*(?:for\s+(?:every|all|any|each|some)|where|with\s+any)\b.*"
    r"|(?<![A-Za-z\\])(?:for\s+(?:every|all|any|each|some)|where)\b.*|\\forall(?![a-z]).*)",
    re.DOTALL | re.IGNORECASE,
)
_EXCEPT = re.compile(
    r"(?:\\text\{\s*)?(?:all\s+(?:the\s+)?)?(?:real\s+numbers|reals)\s*(?:\})?\s*(?:\\text\{\s*)?,?\s*(?:except(?:\s+for)?|but|other\s+than)\s*\}?\s*(.+)"
    r"|(?:\\text\{\s*)?(?:all|any)\s+real\s+(?:numbers?\s+)?(?:[a-z]\s+)?(?:except(?:\s+for)?|other\s+than)\s*\}?\s*(.+)",
    re.DOTALL | re.IGNORECASE,
)
_MATHEMATICS = re.compile(r"[\d\\=<>^_+*/()]")
_NOT_ONLY = re.compile(
    r"\s*(?:\\text\{)?\s*(?:not|never|at|less|more|fewer|greater|over|under|between|about|either|neither)\b",
    re.IGNORECASE,
)
"""Words that change what follows them."""


def without_phrases(text: str) -> str:
    """`text` without a sentence around the answer and without a final clause on its variables.

    What remains is mathematics; a text whose answer is a word stays whole, because "Ann is first" is not "first".
    """
    if match := _EXCEPT.fullmatch(text):
        points = (match.group(1) or match.group(2)).replace("\\land", ",").rstrip(".} ").strip()
        return rf"\mathbb{{R}}\setminus\{{{points}\}}"
    qualifier = _QUALIFIER.search(text)
    if qualifier and qualifier.start() and _MATHEMATICS.search(text[: qualifier.start()]):
        text = text[: qualifier.start()].rstrip(" ,;(")
    match = _INTRODUCTION.match(text)
    if (
        match
        and _mathematical(text[match.end() :])
        and not _NOT_ONLY.match(text[match.end() :])
        and " not " not in match.group()
    ):
        text = text[match.end() :].rstrip("}") if _unopened(text[match.end() :]) else text[match.end() :]
    conclusion = _CONCLUSION.search(text)
    if conclusion and conclusion.end() == len(text) and _mathematical(text[: conclusion.start()]):
        text = text[: conclusion.start()]
    return text.strip()


def _mathematical(text: str) -> bool:
    """Whether the text has a number or a formula and begins with it."""
    return bool(_MATHEMATICS.search(text)) and not re.match(r"\s*(?:\\text\{\s*)?[A-Za-z]{2,}\s", text)


def _unopened(text: str) -> bool:
    return text.count("}") > text.count("{")
