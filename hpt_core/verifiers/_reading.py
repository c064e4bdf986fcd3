"""Reads the structure of an answer's LaTeX, without sympy. The expressions inside are left to Math-Verify's parser."""

import re

from hpt_core.verifiers._brackets import balanced, split, split_relations
from hpt_core.verifiers._latex import clean, plain_text, strip_outer_braces
from hpt_core.verifiers._nodes import Chain, Leaf, Many, Matrix, Node, Ordered, Relation, Unreadable
from hpt_core.verifiers._numbers import number
from hpt_core.verifiers._phrases import without_phrases
from hpt_core.verifiers._quantities import is_name, names_a_quantity, tuple_of_names
from hpt_core.verifiers._sets import LINE, REALS, is_interval, read_set
from hpt_core.verifiers._units import split_unit

DEEPEST = 20
"""Maximum nesting of brackets. No benchmark's answers are nested deeper."""
LONGEST_CHAIN = 20
_STATEMENTS = re.compile(
    r"\\(?:implies|iff|to|mapsto|therefore|(?:long|Long)?(?:left|Left)?(?:right|Right)arrow)(?![a-z])"
    r"|\\text\{\s*(?:so|then|thus|hence)\b"
)
_RUN_ON = re.compile(r"[\d}][.:]\s*[A-Za-z]")
_TWO = re.compile(r"((?:[^A-Za-z\\]|\\(?:frac|sqrt|pi)(?![a-z]))*[\d})])\s+([A-Za-z](?:_\w)?)")
"""A value, and the name of the next statement."""

_MATRIX = re.compile(
    r"([(\[]?)\s*\\begin\{((?:[pb]|small)?matrix|array)\}(?:\{[lcr|]*\})?((?:(?!\\begin\{).)*)\\end\{\2\}\s*([)\]]?)",
    re.DOTALL,
)
_CASES = re.compile(r"(?:\\\{)?\s*\\begin\{(cases|aligned|array)\}(?:\{[lcr|]*\})?(.*)\\end\{\1\}", re.DOTALL)
_MEASURE = re.compile(r"(?<!\d)\d+(?:\.\d+)?\s*\\text\{[^{}\d]*\}\s*")
_PLUS_MINUS = re.compile(r"\\pm(?![a-z])|\\mp(?![a-z])")
_OPENING = {"(": ")", "[": "]", "\\{": "\\}"}
_CLOCK = re.compile(r"(?:[01]?\d|2[0-4])(?::[0-5]\d){1,2}")
_ELLIPSIS = re.compile(r"\\(?:[lc]?dots[bcmio]?)(?![a-z])|\.\.\.|…")
_MODULUS = re.compile(
    r"(?:\\pmod\s*(?:\{(?P<braced>.*)\}|(?P<short>\w+))|(?P<open>\()?\s*(?:\\bmod|\\mod|\\text\{\s*mod\s*\}|mod(?![a-z]))\s*(?P<plain>[^()]+?)\s*(?(open)\)))$",
    re.DOTALL,
)


def read(text: str, listed: bool = False) -> Node:
    """Parse `text`. Raises Unreadable. `listed` reads "108,135" as two answers, not as a thousands separator."""
    cleaned = without_phrases(clean(text))
    if not cleaned:
        raise Unreadable("empty")
    return _read(cleaned, listed, 0)


def _read(text: str, listed: bool, depth: int) -> Node:
    text = strip_outer_braces(text.strip()).rstrip(",; ")
    if not text:
        raise Unreadable("an empty part")
    if depth > DEEPEST:
        raise Unreadable("nested too deep")
    if REALS.fullmatch(text):
        return LINE
    if plain_text(text) is not None:
        return Leaf(text)
    if (match := _MATRIX.fullmatch(text)) and match.group(1) + match.group(4) in ("", "()", "[]"):
        return _matrix(match.group(3), text, depth)
    if match := _CASES.fullmatch(text):
        return _system(match.group(2), depth)
    if not listed and (whole := _with_thousands(text)) is not None:
        return whole
    found = read_set(text, lambda part: _read(part, True, depth + 1))
    return (
        found
        or _several(text, listed, depth)
        or _residue(text, depth)
        or _bracketed(text, depth)
        or _relation(text, depth)
        or _measures(text)
        or _leaf(text)
    )


def _with_thousands(text: str) -> Node | None:
    """A number with thousands separators ("2,000 \\text{ m}", "N = 2,000"), whose commas do not separate answers."""
    pieces = split_relations(text)
    body, _ = split_unit(pieces[-1])
    if "," not in body or number(body) is None:
        return None
    if len(pieces) == 1:
        return _leaf(text)
    return _chain(text, 0) if set(pieces[1::2]) <= {"=", "\\approx"} and "," not in pieces[0] else None


def _several(text: str, listed: bool, depth: int) -> Node | None:
    """Several answers, or the groups of values that solve a problem with several unknowns."""
    for separators in (("\\lor",), (";",)):
        parts = [part for part in split(text, separators) if part.strip()]
        if len(parts) < 2:
            continue
        groups = [[part for part in split(group, (",", "\\land")) if part.strip()] for group in parts]
        sizes, named = {len(group) for group in groups}, all("=" in part for group in groups for part in group)
        if len(sizes) == 1 and sizes != {1} and (named or separators == (";",)):
            tuples = [tuple(_read(part, True, depth + 1) for part in group) for group in groups]
            return Many(tuple(Ordered("(", items, ")") for items in tuples))
    parts = split(text, (",", ";", "\\lor", "\\land"))
    if len(parts) > 1:
        parts = [part for part in parts if part.strip()]
        if any(_ELLIPSIS.fullmatch(part.strip()) for part in parts):
            return Ordered("", tuple(_read(part, listed, depth + 1) for part in parts), "")
        nodes = [_read(part, listed, depth + 1) for part in parts]
        if len(split(text, (",", ";", "\\land"))) == 1:  # joined by "or" alone
            if all(map(is_interval, nodes)):
                return Many(tuple(nodes), kind="union")
            names = {node.sides[0] for node in nodes if isinstance(node, Chain) and node.nodes[0] is None}
            if len(names) > 1:
                return Many(tuple(nodes), kind="alternatives")
        return _many(nodes)
    if _ELLIPSIS.fullmatch(text):
        return Leaf("\\ldots", literal=True)
    # In a set, each element has its own signs.
    if _PLUS_MINUS.search(text) and not (text.startswith("\\{") and text.endswith("\\}")):
        signs = [_signed(text, sign) for sign in "+-"]
        return _many([_read(signed, listed, depth + 1) for signed in signs])
    union = split(text, ("\\cup",))
    if len(union) > 1:
        return Many(tuple(_read(part, listed, depth + 1) for part in union), kind="union")
    return None


def _many(nodes: list[Node]) -> Node:
    """Several answers. Elements that are themselves several (1 \\pm 2) are flattened."""
    flat: list[Node] = []
    for node in nodes:
        flat.extend(node.items if isinstance(node, Many) and node.kind == "answers" and not node.braced else [node])
    return Many(tuple(flat))


def _signed(text: str, sign: str) -> str:
    other = "-" if sign == "+" else "+"
    signed = _PLUS_MINUS.sub(lambda match: sign if match.group() == "\\pm" else other, text)
    return signed.strip().removeprefix("+")


def _matrix(body: str, text: str, depth: int) -> Matrix:
    rows = [row for row in split(body, ("\\\\",)) if row.strip()]
    return Matrix(tuple(tuple(_read(cell, True, depth + 1) for cell in split(row, ("&",))) for row in rows), text)


def _system(body: str, depth: int) -> Many:
    """The rows of a system of equations or of a definition by cases, in any order."""
    rows = []
    for row in split(body, ("\\\\",)):
        cells = [cell.strip().strip(",") for cell in split(row, ("&",)) if cell.strip(" ,")]
        joined = "".join(cells) if any(cell.startswith(("=", "<", ">", "\\")) for cell in cells[1:]) else None
        if joined is not None and len(split_relations(joined)) == 3 and not split_relations(cells[0])[1:]:
            cells = [joined]
        if cells:
            nodes = tuple(_read(cell, True, depth + 1) for cell in cells)
            rows.append(nodes[0] if len(nodes) == 1 else Ordered("case", nodes, ""))
    if not rows:
        raise Unreadable("a system without rows")
    stated = all(isinstance(row, Chain) and row.nodes[0] is None for row in rows)
    return Many(tuple(rows), kind="answers" if stated else "system")


def _residue(text: str, depth: int) -> Node | None:
    """x \\equiv 2 \\pmod 5, or 2 \\pmod 5."""
    found = _MODULUS.search(text)
    if found is None or not found.start():
        return None
    modulus = found.group("braced") or found.group("short") or found.group("plain")
    value = split_relations(text[: found.start()].strip())
    if set(value[1::2]) - {"\\equiv", "="} or not value[-1].strip():
        return None
    if len(value) > 3:
        raise Unreadable("a chain of residues")
    left = Leaf("" if is_name(value[0]) or len(value) == 1 else value[0], literal=True)
    return Ordered("mod", (_read(value[-1], True, depth + 1), _read(modulus, True, depth + 1), left), "")


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
            return Many((), braced=True)
        node = _read(inside, True, depth + 1)
        a_set_of_one_set = inside.strip().startswith("\\{") and len(split(inside, (",", ";"))) == 1
        if (isinstance(node, Many) and node.kind != "answers") or (isinstance(node, Ordered) and node.name):
            return node  # a condition in braces
        items = node.items if isinstance(node, Many) and not a_set_of_one_set else (node,)
        return Many(items, braced=True)
    parts = split(inside, (",", ";"))
    if len(parts) == 1:
        return _read(inside, True, depth + 1) if opening + closing == "()" and not _PLUS_MINUS.search(inside) else None
    return Ordered(opening, tuple(_read(part, True, depth + 1) for part in parts), closing)


def _relation(text: str, depth: int) -> Node | None:
    """An equation, a chain of equal sides, or an inequality."""
    pieces = split_relations(text)
    if len(pieces) < 3:
        return None
    if set(pieces[1::2]) <= {"=", "\\approx"}:
        return _chain(text, depth)
    if not all(piece.strip() for piece in pieces):
        raise Unreadable("a relation without one of its sides")
    return Relation(pieces[0].strip(), pieces[1], pieces[2].strip()) if len(pieces) == 3 else Leaf(text)


def _chain(text: str, depth: int) -> Node:
    """Sides joined by "=" and "\\approx". A side that only names a quantity is not read."""
    pieces = split_relations(text)
    sides, operators = [piece.strip() for piece in pieces[::2]], ["=", *pieces[1::2]]
    if not sides[0] and operators[1:] == ["\\approx"]:  # "\\approx 3.92"
        return _read(sides[1], True, depth + 1)
    if len(sides) > LONGEST_CHAIN or not all(sides):
        raise Unreadable("a relation without one of its sides")
    joined = len(split(text, ("\\\\", "&"))) > 1 or _STATEMENTS.search(text) is not None
    if joined or any(_RUN_ON.search(side) for side in sides[1:]):
        raise Unreadable("several statements")
    if two := next(filter(None, map(_TWO.fullmatch, sides[1:-1])), None):  # x = 3 y = 7
        cut = text.index(two.group()) + two.start(2)
        return _many([_chain(part.strip(), depth) for part in (text[:cut], text[cut:])])
    if (names := tuple_of_names(sides[0])) and len(sides) == 2:
        stated = _read(sides[1], True, depth + 1)
        if isinstance(stated, Ordered) and len(stated.items) == len(names):
            pairs = zip(names, stated.items, strict=True)
            return Ordered("(", tuple(_statement(name, item) for name, item in pairs), ")")
    first = None if names_a_quantity(sides[0]) else _read(sides[0], True, depth + 1)
    last = None if first is not None and len(sides) == 2 and is_name(sides[1]) else _read(sides[-1], True, depth + 1)
    nodes = (first, *(_read(side, True, depth + 1) for side in sides[1:-1]), last)
    return Chain(tuple(sides), nodes, tuple(operator == "\\approx" for operator in operators))


def _statement(name: str, value: Node) -> Chain:
    shown = value.text if isinstance(value, Leaf) else repr(value)
    return Chain((name, shown), (None, value), (False, False))


def _leaf(text: str) -> Leaf:
    if not balanced(text):
        raise Unreadable("brackets that do not match")
    if _CLOCK.fullmatch(text):
        return Leaf(text.lstrip("0") or text, literal=":0" in text or text.count(":") == 2)
    if _ELLIPSIS.search(text):
        return Leaf(text, literal=True)
    body, unit = split_unit(text)
    return Leaf(body, unit)


def _measures(text: str) -> Node | None:
    """Quantities with units side by side ("2 ft 3 in"). They are parts of a sum, not factors."""
    parts = _MEASURE.findall(text)
    if len(parts) < 2 or _MEASURE.sub("", text).strip(" ,"):
        return None
    return Many(tuple(_leaf(part.strip()) for part in parts), kind="measures")
