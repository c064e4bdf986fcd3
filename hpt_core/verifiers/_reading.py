"""Parses the structure of an answer's LaTeX: a list of answers, a tuple, a set, an interval, a matrix, text, a number.

Only the outer structure is parsed here, without sympy. Math-Verify's parser reads the expressions inside.
"""

import re
from dataclasses import dataclass

from hpt_core.verifiers._latex import clean, plain_text, split_unit, strip_outer_braces
from hpt_core.verifiers._numbers import number

DEEPEST = 20
"""Maximum nesting of brackets. No benchmark's answers are nested deeper."""


class Unreadable(Exception):
    """The text is not an answer: it is empty or its brackets do not match."""


@dataclass(frozen=True, slots=True)
class Leaf:
    """A number, expression or text, with its unit if one is written ("deg", "%", "cm^2", "base 8")."""

    text: str
    unit: str | None = None


@dataclass(frozen=True, slots=True)
class Many:
    """Several answers in any order: "1, -2", a set in braces, or the parts of a union (`kind` tells them apart)."""

    items: tuple["Node", ...]
    kind: str = "answers"


@dataclass(frozen=True, slots=True)
class Ordered:
    """A tuple or an interval. Brackets and order matter."""

    opening: str
    items: tuple["Node", ...]
    closing: str


@dataclass(frozen=True, slots=True)
class Matrix:
    """Rows of a matrix or a column vector."""

    rows: tuple[tuple["Node", ...], ...]


@dataclass(frozen=True, slots=True)
class Relation:
    """`left` "=" `right`, or an inequality between them."""

    left: str
    operator: str
    right: "Node"


Node = Leaf | Many | Ordered | Matrix | Relation

_MATRIX = re.compile(
    r"([(\[]?)\s*\\begin\{((?:[pb]|small)?matrix|array)\}(?:\{[lcr|]*\})?(.*)\\end\{\2\}\s*([)\]]?)", re.DOTALL
)
_REALS = re.compile(
    r"\\mathbb\s*\{?\s*R\s*\}?|(?:\\text\{\s*)?(?:all|the) (?:real numbers|reals)(?:\s*\})?", re.IGNORECASE
)
_MEMBER = re.compile(
    r"(?:[A-Za-z]|\\[a-z]+)\s*\\in(?![a-zA-Z])\s*|[A-Za-z]\s*(?=[(\[][^()\[\]]*,[^()\[\]]*\]$|\[[^()\[\]]*,[^()\[\]]*\)$)"
)
_RELATION = re.compile(r"\\le(?![a-z])|\\ge(?![a-z])|\\ne(?![a-z])|\\approx(?![a-z])|[<>=]")
_MEASURE = re.compile(r"\d+(?:\.\d+)?\s*\\text\{[^{}\d]*\}\s*")
_PLUS_MINUS = re.compile(r"\\pm(?![a-z])|\\mp(?![a-z])")
_OPENING = {"(": ")", "[": "]", "\\{": "\\}"}


def read(text: str, listed: bool = False) -> Node:
    """Parse `text`. Raises Unreadable. `listed` reads "108,135" as two answers, not as a thousands separator."""
    cleaned = clean(text)
    if not cleaned:
        raise Unreadable("empty")
    return _read(cleaned, listed, 0)


def _read(text: str, listed: bool, depth: int) -> Node:
    text = strip_outer_braces(text.strip())
    if not text:
        raise Unreadable("an empty part")
    if depth > DEEPEST:
        raise Unreadable("nested too deep")
    if _REALS.fullmatch(text):
        return Ordered("(", (Leaf("-\\infty"), Leaf("\\infty")), ")")
    if plain_text(text) is not None:
        return Leaf(text)
    if (match := _MATRIX.fullmatch(text)) and match.group(1) + match.group(4) in ("", "()", "[]"):
        return _matrix(match.group(3), depth)
    if not listed and (whole := _with_thousands(text)) is not None:
        return whole
    parts = split(text, (",", ";"))
    if len(parts) > 1:
        return _many([_read(part, listed, depth + 1) for part in parts if part.strip()])
    # In a set, each element has its own signs.
    if _PLUS_MINUS.search(text) and not (text.startswith("\\{") and text.endswith("\\}")):
        signs = [_signed(text, sign) for sign in "+-"]
        return _many([_read(signed, listed, depth + 1) for signed in signs])
    union = split(text, ("\\cup",))
    if len(union) > 1:
        return Many(tuple(_read(part, listed, depth + 1) for part in union), kind="union")
    if member := _MEMBER.match(text):
        return _read(text[member.end() :], listed, depth + 1)
    return _bracketed(text, depth) or _relation(text, depth) or _measures(text) or _leaf(text)


def _with_thousands(text: str) -> Node | None:
    """A number with thousands separators ("2,000 \\text{ m}", "N = 2,000"), whose commas do not separate answers."""
    *left, right = split_relations(text)
    body, _ = split_unit(right)
    if "," not in body or number(body) is None:
        return None
    if not left:
        return _leaf(text)
    return Relation(left[0].strip(), "=", _leaf(right)) if left[1:] == ["="] and "," not in left[0] else None


def _many(nodes: list[Node]) -> Node:
    """Several answers. Elements that are themselves several (1 \\pm 2) are flattened."""
    flat: list[Node] = []
    for node in nodes:
        flat.extend(node.items if isinstance(node, Many) and node.kind == "answers" else [node])
    return Many(tuple(flat))


def _signed(text: str, sign: str) -> str:
    other = "-" if sign == "+" else "+"
    signed = _PLUS_MINUS.sub(lambda match: sign if match.group() == "\\pm" else other, text)
    return signed.strip().removeprefix("+")


def _matrix(body: str, depth: int) -> Matrix:
    rows = [row for row in split(body, ("\\\\",)) if row.strip()]
    return Matrix(tuple(tuple(_read(cell, True, depth + 1) for cell in split(row, ("&",))) for row in rows))


def _bracketed(text: str, depth: int) -> Node | None:
    """A tuple, interval or set, if one pair of brackets encloses the whole text."""
    opening = "\\{" if text.startswith("\\{") else text[0]
    if opening not in _OPENING:
        return None
    closing = next((c for c in (")", "]", "\\}") if text.endswith(c)), None)
    if closing is None or (opening == "\\{") != (closing == "\\}"):
        return None
    inside = text[len(opening) : len(text) - len(closing)]
    if not balanced(inside):
        return None
    if opening == "\\{":
        if not inside.strip():
            return Many((), kind="answers")
        node = _read(inside, True, depth + 1)
        a_set_of_one_set = inside.strip().startswith("\\{") and len(split(inside, (",", ";"))) == 1
        return node if isinstance(node, Many) and not a_set_of_one_set else Many((node,))
    parts = split(inside, (",", ";"))
    if len(parts) == 1:
        return _read(inside, True, depth + 1) if opening + closing == "()" and not _PLUS_MINUS.search(inside) else None
    return Ordered(opening, tuple(_read(part, True, depth + 1) for part in parts), closing)


def _relation(text: str, depth: int) -> Node | None:
    """An equation or inequality; an interval if inequalities bound one variable."""
    pieces = split_relations(text)
    if len(pieces) < 3:
        return None
    sides, operators = [p.strip() for p in pieces[::2]], pieces[1::2]
    if any(not side for side in sides):
        raise Unreadable("a relation without one of its sides")
    if all(operator in ("=", "\\approx") for operator in operators):
        return Relation(sides[0], "=", _read(sides[-1], True, depth + 1))
    interval = _interval(sides, operators, depth)
    if interval is not None:
        return interval
    if len(sides) != 2:
        return Leaf(text)
    return Relation(sides[0], operators[0], _read(sides[1], True, depth + 1))


def _interval(sides: list[str], operators: list[str], depth: int) -> Node | None:
    """x > 2, 2 < x and 1 <= x < 2 as intervals; None for other relations."""
    variable = re.compile(r"[A-Za-z]|\\[a-z]+(?<!\\pi)(?<!\\infty)")
    if "\\ne" in operators or "=" in operators or "\\approx" in operators:
        return None
    if all(operator in (">", "\\ge") for operator in operators):
        sides, operators = sides[::-1], [{">": "<", "\\ge": "\\le"}[o] for o in operators[::-1]]
    if not all(operator in ("<", "\\le") for operator in operators):
        return None
    bracket = {"<": ("(", ")"), "\\le": ("[", "]")}

    def bound(text: str) -> Node:
        return _read(text, True, depth + 1)

    if len(sides) == 3 and variable.fullmatch(sides[1]):
        return Ordered(bracket[operators[0]][0], (bound(sides[0]), bound(sides[2])), bracket[operators[1]][1])
    if len(sides) == 2 and variable.fullmatch(sides[0]) and not variable.fullmatch(sides[1]):
        return Ordered("(", (Leaf("-\\infty"), bound(sides[1])), bracket[operators[0]][1])
    if len(sides) == 2 and variable.fullmatch(sides[1]) and not variable.fullmatch(sides[0]):
        return Ordered(bracket[operators[0]][0], (bound(sides[0]), Leaf("\\infty")), ")")
    return None


def _leaf(text: str) -> Leaf:
    if not balanced(text):
        raise Unreadable("brackets that do not match")
    body, unit = split_unit(text)
    return Leaf(body, unit)


def _measures(text: str) -> Node | None:
    """Quantities with units side by side ("2 ft 3 in"). They are parts of a sum, not factors."""
    parts = _MEASURE.findall(text)
    if len(parts) < 2 or _MEASURE.sub("", text).strip(" ,"):
        return None
    return Many(tuple(_leaf(part.strip()) for part in parts), kind="measures")


_BRACKET = re.compile(r"\\[{}]|\\(?:begin|end)\{[a-zA-Z]+\*?\}|\\\\|\\[a-zA-Z]+|[(){}\[\]]|.", re.DOTALL)


def _levels(text: str) -> list[tuple[str, int, int]]:
    """Tokens of `text` as (token, start, depth outside the token). Depth is negative if brackets do not match."""
    depth, found = 0, []
    for match in _BRACKET.finditer(text):
        token = match.group()
        closes = token in (")", "]", "}", "\\}") or token.startswith("\\end{")
        opens = token in ("(", "[", "{", "\\{") or token.startswith("\\begin{")
        depth -= closes
        found.append((token, match.start(), depth))
        depth += opens
    return found


def balanced(text: str) -> bool:
    """Whether every bracket is matched. "(" may end with "]", as in intervals; braces are strict."""
    stack: list[str] = []
    for token, _, _ in _levels(text):
        if token in ("(", "["):
            stack.append("round")
        elif token in ("{", "\\{"):
            stack.append(token)
        elif token.startswith("\\begin{"):
            stack.append(token[6:])
        elif token in (")", "]"):
            if not stack or stack.pop() != "round":
                return False
        elif token in ("}", "\\}"):
            if not stack or stack.pop() != token.replace("}", "{"):
                return False
        elif token.startswith("\\end{") and (not stack or stack.pop() != token[4:]):
            return False
    return not stack


def split(text: str, separators: tuple[str, ...]) -> list[str]:
    """Parts of `text` between separators that are outside all brackets."""
    parts, last = [], 0
    for token, start, depth in _levels(text):
        if depth == 0 and token in separators:
            parts.append(text[last:start])
            last = start + len(token)
    return [*parts, text[last:]]


def split_relations(text: str) -> list[str]:
    """Sides and operators in turn: ["1", "<", "x", "\\le", "2"]. Operators inside brackets do not count."""
    pieces, last = [], 0
    for token, start, depth in _levels(text):
        if depth == 0 and _RELATION.fullmatch(token):
            pieces += [text[last:start], token]
            last = start + len(token)
    return [*pieces, text[last:]]
