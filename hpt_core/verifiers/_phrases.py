"""Words around an answer inside its box: "the answer is 10", "f(x) = 5x + c for every c", "all reals except 3"."""

import re

_KIND = r"(?:real|integration|complex|positive|whole|arbitrary|any|an|a)"
_INTRODUCTION = re.compile(
    r"(?:(?:so|thus|hence|therefore|then)[\s,:]+)?(?:(?:we\s+(?:get|have|obtain|find|conclude)|(?:the|our|my)\s+"
    r"(?:(?:final|correct|required|desired|requested)\s+)?(?:answer|solution|result|value(?:\s+of\s+\$?[A-Za-z]\$?)?)s?"
    r"\s*(?:is|are|equals|:|=))|(?:final\s+)?answers?\s*(?:is|are|:|=))\s*:?\s*",
    re.IGNORECASE,
)
"""What may stand before the answer. Other words may change it: "half the value is 7", "I doubt the answer is 7"."""
_CONCLUSION = re.compile(
    r"\s*,?\s*(?:is|are|as)\s+(?:the|our)\s+(?:(?:final|correct|only)\s+)?(?:answer|solution|result)s?\s*",
    re.IGNORECASE,
)
_QUALIFIER = re.compile(
    rf"[\s,;(]*(?:(?:for\s+(?:every|all|any|each)|\\forall)\s*(?:{_KIND}\s+)*(?:(?:numbers?|values?\s+of|constants?)\s+)?"
    r"(?:[A-Za-z](?:_\w)?(?:\s*,\s*[A-Za-z](?:_\w)?)*)?\s*(?:\\in\s*\\mathbb\s*\{?[RC]\}?)?"
    rf"|where\s+[A-Za-z](?:_\w)?\s+is\s+(?:{_KIND}\s+)*(?:constant|number))[\s).]*",
    re.IGNORECASE,
)
"""A clause on free variables that says nothing: "for all x", "where C is a constant". Others are conditions."""
_EXCEPT = re.compile(
    r"(?:\\text\{\s*)?(?:all\s+(?:the\s+)?)?(?:real\s+numbers|reals)\s*(?:\})?\s*(?:\\text\{\s*)?,?\s*(?:except(?:\s+for)?|but|other\s+than)\s*\}?\s*(.+)"
    r"|(?:\\text\{\s*)?(?:all|any)\s+real\s+(?:numbers?\s+)?(?:[a-z]\s+)?(?:except(?:\s+for)?|other\s+than)\s*\}?\s*(.+)",
    re.DOTALL | re.IGNORECASE,
)
_WRAPPED = re.compile(r"\\text\{([^{}]*)\}")
_MATHEMATICS = re.compile(r"[\d\\=<>^_+*/()]")


def without_phrases(text: str) -> str:
    """`text` without a sentence around the answer and without a final clause on its variables.

    What remains is mathematics; a text whose answer is a word stays whole, because "Ann is first" is not "first".
    """
    if match := _EXCEPT.fullmatch(text):
        points = (match.group(1) or match.group(2)).replace("\\land", ",").rstrip(".} ").strip()
        return rf"\mathbb{{R}}\setminus\{{{points}\}}"
    text = text.removeprefix("= ").strip()
    for start in (match.start() for match in re.finditer(r"\\text\{|\\forall|\bfor\b|\bwhere\b", text)):
        if start and _QUALIFIER.fullmatch(_bare(text[start:])) and _MATHEMATICS.search(text[:start]):
            text = text[:start].rstrip(" ,;(")
            break
    bare = _bare(text)
    introduction = _INTRODUCTION.match(bare)
    if introduction and _mathematical(bare[introduction.end() :]):
        # The introduction is wrapped in \text{}, or not at all.
        text = text[text.index("}") + 1 :] if text.startswith("\\text{") else bare[introduction.end() :]
    for start in (match.start() for match in re.finditer(r"\\text\{|\b(?:is|are|as)\b", text)):
        if start and _CONCLUSION.fullmatch(_bare(text[start:])) and _mathematical(text[:start]):
            text = text[:start]
            break
    return text.strip()


def _bare(text: str) -> str:
    return _WRAPPED.sub(r" \1 ", text).strip()


def _mathematical(text: str) -> bool:
    """Whether the text is a number or a formula, without further words."""
    return bool(_MATHEMATICS.search(text)) and not re.search(r"(?<![\\A-Za-z])[A-Za-z]{3,}", text)
