"""Sets of real numbers: intervals written with inequalities, unions, set-builder notation, the reals without points."""

import itertools
import re
from collections.abc import Callable

from hpt_core.verifiers._brackets import split, split_relations
from hpt_core.verifiers._nodes import Leaf, Many, Node, Ordered, Unreadable

Read = Callable[[str], Node]

REALS = re.compile(
    r"\\mathbb\s*\{?\s*R\s*\}?|(?:\\text\{\s*)?(?:all|the|any) (?:real numbers?|reals)(?:\s*\})?", re.IGNORECASE
)
_VARIABLE = re.compile(
    r"(?:[A-Za-z]|\\(?!pi(?![a-z])|infty|sqrt|frac)[a-z]+)'*(?:_(?:\w|\{\w+\}))?(?:\s*\(\s*[A-Za-z]\s*\))?"
)
_BUILDER = re.compile(
    r"\\\{\s*([A-Za-z])\s*(?:\\in\s*\\mathbb\s*\{?R\}?\s*)?(?:\\mid|\\vert|\\colon|\||:)\s*(.+)\\\}", re.DOTALL
)
_MEMBER = re.compile(
    r"(?:[A-Za-z]|\\[a-z]+)\s*\\in(?![a-zA-Z])\s*|[A-Za-z]\s*(?=[(\[][^()\[\]]*,[^()\[\]]*\]$|\[[^()\[\]]*,[^()\[\]]*\)$)"
)
_ANY_REAL = re.compile(r"[A-Za-z]\s*\\in\s*\\mathbb\s*\{?R\}?\s*(?:,|;|\\land)\s*")
_FLIPPED = {">": "<", "\\ge": "\\le"}
_INFINITE = (Leaf("-\\infty"), Leaf("\\infty"))
LINE = Ordered("(", _INFINITE, ")")


def is_interval(node: Node) -> bool:
    """Whether brackets or an infinite end tell an interval from a pair."""
    if not isinstance(node, Ordered) or len(node.items) != 2:
        return False
    infinite = any(isinstance(item, Leaf) and item.text in ("\\infty", "-\\infty") for item in node.items)
    return infinite or (node.opening + node.closing not in ("()", "mod", "case"))


def read_set(text: str, read: Read) -> Node | None:
    """A set of real numbers that is written in words, with \\in, as a set-builder, a difference or inequalities."""
    text = _ANY_REAL.sub("", text)
    if builder := _BUILDER.fullmatch(text):
        if not re.search(rf"(?<![A-Za-z\\]){builder.group(1)}(?![A-Za-z])", builder.group(2)):
            raise Unreadable("a set-builder without its variable")
        return read(builder.group(2))
    if member := _MEMBER.match(text):
        return read(text[member.end() :])
    return _difference(text, read) or _joined(text, read) or _bounds(text, read)


def _difference(text: str, read: Read) -> Node | None:
    r"""\mathbb{R} \setminus \{1, 2\} as a union of intervals; None for other differences."""
    parts = split(text, ("\\setminus", "\\backslash", "\\smallsetminus"))
    if len(parts) == 1 and "\\mathbb" in text:
        parts = split(text, ("-",))
    if len(parts) != 2 or not REALS.fullmatch(parts[0].strip()):
        return None
    points = read(parts[1].strip())
    return without(points.items if isinstance(points, Many) else (points,))


def without(points: tuple[Node, ...], name: str = "") -> Node | None:
    """The reals without some points; None if their order cannot be told."""
    from hpt_core.verifiers._expressions import ascending

    texts = [point.text for point in points if isinstance(point, Leaf) and point.unit is None]
    order = ascending(texts) if len(texts) == len(points) else None
    if order is None:
        return None
    bounds = [_INFINITE[0], *(Leaf(texts[index]) for index in order), _INFINITE[1]]
    return Many(tuple(Ordered("(", pair, ")") for pair in itertools.pairwise(bounds)), kind="union", name=name)


def _joined(text: str, read: Read) -> Node | None:
    """Bounds of one variable that are joined by "or", "and" or commas; None if a part is anything else."""
    for separators, meet in ((("\\lor",), False), (("\\land",), True), ((",", ";"), None)):
        parts = [part.strip() for part in split(text, separators)]
        if len(parts) < 2:
            continue
        if all(map(_excluded, parts)) and len(set(map(_name, parts))) == 1:
            return None if meet is False else without(tuple(read(str(_excluded(part))) for part in parts))
        found = [_bounds(part, read) for part in parts]
        names = {_name(part) for part in parts}
        if len(names) > 1 or any(node is None for node in found):
            return None
        intervals = [node for node in found if isinstance(node, Ordered)]
        if len(intervals) == len(found) == 2 and meet is not False and (both := _intersection(*intervals)):
            return both
        if meet is True or len(intervals) < len(found):
            return None
        return Many(tuple(intervals), kind="union")
    return None


def _excluded(text: str) -> str | None:
    """The value that a variable is said not to have."""
    pieces = split_relations(text)
    if len(pieces) == 3 and pieces[1] == "\\ne" and _VARIABLE.fullmatch(pieces[0].strip()):
        return pieces[2].strip()
    return None


def _name(text: str) -> str | None:
    return next((side.strip() for side in split_relations(text)[::2] if _VARIABLE.fullmatch(side.strip())), None)


def _intersection(one: Ordered, other: Ordered) -> Ordered | None:
    """The interval between a lower and an upper bound, if the lower is the smaller."""
    from hpt_core.verifiers._expressions import ascending

    if one.items[0] == _INFINITE[0]:
        one, other = other, one
    if one.items[1] != _INFINITE[1] or other.items[0] != _INFINITE[0]:
        return None
    low, high = one.items[0], other.items[1]
    if not (isinstance(low, Leaf) and isinstance(high, Leaf)) or ascending([low.text, high.text]) != [0, 1]:
        return None
    return Ordered(one.opening, (low, high), other.closing)


def _bounds(text: str, read: Read) -> Node | None:
    """x > 2, 2 < x, 1 <= x < 2 and x \\ne 3 as sets; None for other relations."""
    if (point := _excluded(text)) is not None and not _VARIABLE.fullmatch(point):
        node = read(point)
        return without(node.items if isinstance(node, Many) else (node,), _name(text) or "")
    pieces = split_relations(text)
    sides, operators = [piece.strip() for piece in pieces[::2]], pieces[1::2]
    if operators and all(operator in _FLIPPED for operator in operators):
        sides, operators = sides[::-1], [_FLIPPED[operator] for operator in operators[::-1]]
    if not operators or not all(operator in ("<", "\\le") for operator in operators):
        return None
    brackets = [("(", ")") if operator == "<" else ("[", "]") for operator in operators]
    name = _name(text) or ""
    named = [_VARIABLE.fullmatch(side) is not None for side in sides]
    if len(sides) == 3 and named[1]:
        return Ordered(brackets[0][0], (read(sides[0]), read(sides[2])), brackets[1][1], name)
    if len(sides) == 2 and named == [True, False]:
        return Ordered("(", (_INFINITE[0], read(sides[1])), brackets[0][1], name)
    if len(sides) == 2 and named == [False, True]:
        return Ordered(brackets[0][0], (read(sides[0]), _INFINITE[1]), ")", name)
    return None
