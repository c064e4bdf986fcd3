"""Formulas in texts of models and data, as trees that a page can show without ever reading markup."""

import re
from typing import Any
from xml.etree.ElementTree import Element
from xml.sax.saxutils import unescape

FORMULA = re.compile(
    r"\$\$(?P<a>.+?)\$\$|\\\[(?P<b>.+?)\\\]|\\\((?P<c>.+?)\\\)|\$(?!\s)(?P<d>[^$\n]+?)(?<!\s)\$(?!\d)"
    r"|(?P<e>\\boxed\{[^{}\n]*(?:\{[^{}\n]*\}[^{}\n]*)*\})",
    re.DOTALL,
)
"""A formula between $$, \\[ \\], \\( \\) or $, or a \\boxed answer outside of one. $5 and $7 is none."""
LONGEST = 400
"""Characters of a formula. A longer one stays as it is written."""
MOST = 60
"""Formulas of a text. Those after them stay as they are written."""
ELEMENTS = frozenset(
    [
        "math",
        "mrow",
        "mi",
        "mn",
        "mo",
        "ms",
        "mtext",
        "mspace",
        "mfrac",
        "msqrt",
        "mroot",
        "msub",
        "msup",
        "msubsup",
        "munder",
        "mover",
        "munderover",
        "mtable",
        "mtr",
        "mtd",
        "mpadded",
        "mphantom",
        "menclose",
        "mstyle",
    ]
)
ATTRIBUTES = frozenset(
    [
        "display",
        "mathvariant",
        "stretchy",
        "fence",
        "form",
        "linethickness",
        "displaystyle",
        "scriptlevel",
        "accent",
        "accentunder",
        "separator",
        "movablelimits",
        "minsize",
        "maxsize",
        "lspace",
        "rspace",
        "width",
        "height",
        "depth",
        "columnalign",
        "notation",
    ]
)
"""Elements and attributes of MathML that a page creates. Any other is left out, with what is in it."""

Tree = list[Any]
"""[element, attributes, children...]; a child is a tree or a text."""
Piece = str | list[Any]
"""A text, or [source, tree] of a formula."""


def pieces(text: str) -> list[Piece]:
    """The text with its formulas as trees. Joining the texts and sources gives the text again."""
    found: list[Piece] = []
    end = count = 0
    for match in FORMULA.finditer(text):
        if count == MOST:
            break
        tree = _tree(next(group for group in match.groups() if group is not None), match["a"] or match["b"])
        if tree is not None:
            found += [text[end : match.start()], [match[0], tree]]
            end, count = match.end(), count + 1
    found.append(text[end:])
    return [piece for piece in found if piece != ""]


def _tree(latex: str, is_block: str | None) -> Tree | None:
    """The formula's tree; None if it is too long, or no formula."""
    if len(latex) > LONGEST:
        return None
    from latex2mathml.converter import convert_to_element

    try:
        element = convert_to_element(latex, display="block" if is_block else "inline")
        return _as_tree(element)
    except Exception:  # a text of a model may be anything; the parser has many errors, and deep nesting another
        return None


def _as_tree(element: Element) -> Tree:
    name = element.tag.rpartition("}")[2]
    attributes = {key: value for key, value in element.attrib.items() if key in ATTRIBUTES}
    tree: Tree = [name if name in ELEMENTS else "mrow", attributes]
    if element.text:
        tree.append(_plain(element.text))
    for child in element:
        if child.tag.rpartition("}")[2] in ELEMENTS:
            tree.append(_as_tree(child))
        if child.tail:
            tree.append(_plain(child.tail))
    return tree


def _plain(text: str) -> str:
    """The converter writes characters as &#x0002B;, for a serializer that does not escape."""

    def character(found: re.Match[str]) -> str:
        code = int(found[1], 16)
        return found[0] if 0xD800 <= code < 0xE000 or code > 0x10FFFF else chr(code)

    return re.sub(r"&#x([0-9A-Fa-f]{1,6});", character, unescape(text))
