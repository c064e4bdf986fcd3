"""Decides whether two parsed answers are equal: first their structure, then numbers, texts and expressions."""

import re
from collections.abc import Callable, Sequence
from fractions import Fraction

from hpt_core.verifiers._expressions import LONGEST, Expression, parse
from hpt_core.verifiers._latex import plain_text
from hpt_core.verifiers._nodes import Chain, Leaf, Many, Matrix, Node, Ordered, Relation, Unreadable
from hpt_core.verifiers._numbers import Value, number
from hpt_core.verifiers._quantities import is_function, is_name, names_a_quantity, same_name, spelled
from hpt_core.verifiers._units import alters, unit_name
from hpt_core.verifiers.base import shortened

SAME = Fraction(1, 10**9)
"""Maximum relative difference of two equal decimals, if the absolute difference is at most ROUNDED."""
MACHINE = Fraction(1, 10**12)
"""Maximum relative difference if the absolute one exceeds ROUNDED: 999999999.0 is not 1000000000.0."""
ROUNDED = Fraction(1, 10**6)
"""Maximum absolute difference between a decimal and the exact value that it rounds (0.333333 for 1/3)."""
ROUNDED_RELATIVE = Fraction(1, 10**4)
"""Maximum relative difference in the same case. Without it, every tiny number would equal every other."""

Same = Callable[[Node, Node], bool]


def same(gold: Node, answer: Node) -> bool:
    """Whether `answer` equals `gold`."""
    if isinstance(gold, Chain) or isinstance(answer, Chain):
        return _same_chain(gold, answer)
    if isinstance(gold, Many) or isinstance(answer, Many):
        return _same_many(gold, answer)
    if isinstance(gold, Relation) or isinstance(answer, Relation):
        return _same_inequality(gold, answer)
    if isinstance(gold, Ordered) and isinstance(answer, Ordered):
        brackets = gold.opening == answer.opening and gold.closing == answer.closing
        if gold.opening == "mod":
            return brackets and _same_residue(gold.items, answer.items)
        return brackets and _same_in_order(gold.items, answer.items)
    if isinstance(gold, Matrix) and isinstance(answer, Matrix):
        return len(gold.rows) == len(answer.rows) and all(map(_same_in_order, gold.rows, answer.rows))
    if isinstance(gold, Matrix) and isinstance(answer, Ordered):  # a tuple for a column vector
        return answer.opening + answer.closing == "()" and _same_in_order(_column(gold), answer.items)
    if isinstance(gold, Ordered) and isinstance(answer, Matrix):
        return gold.opening + gold.closing == "()" and _same_in_order(gold.items, _column(answer))
    if isinstance(gold, Matrix | Leaf) and isinstance(answer, Matrix | Leaf):
        return _same_leaf(_as_leaf(gold), _as_leaf(answer))
    return False


def _as_leaf(node: Matrix | Leaf) -> Leaf:
    return Leaf(node.text) if isinstance(node, Matrix) else node


def _column(matrix: Matrix) -> tuple[Node, ...]:
    return tuple(row[0] for row in matrix.rows) if all(len(row) == 1 for row in matrix.rows) else ()


def _same_in_order(gold: tuple[Node, ...], answer: tuple[Node, ...]) -> bool:
    if len(gold) != len(answer):
        return False
    if _all_named(gold) and _all_named(answer):
        return _matched(gold, answer)
    return all(map(same, gold, answer))


def _all_named(nodes: Sequence[Node]) -> bool:
    """Whether all are equations that state the values of different names: p = 3, q = 7."""
    names = [node.sides[0] for node in nodes if isinstance(node, Chain) and node.nodes[0] is None]
    return len(names) == len(nodes) > 1 and len({spelled(name) for name in names}) == len(names)


def _matched(gold: Sequence[Node], answer: Sequence[Node]) -> bool:
    """Whether the items are equal in some order, each once."""
    left = list(answer)
    for item in gold:
        match = next((index for index, other in enumerate(left) if _same_item(item, other)), None)
        if match is None:
            return False
        del left[match]
    return not left


def _same_item(gold: Node, answer: Node) -> bool:
    """`same` for one of several items, which names and braces tell apart."""
    if isinstance(gold, Ordered | Many) and isinstance(answer, Ordered | Many):
        if gold.name and answer.name and gold.name != answer.name:
            return False
    elif any(isinstance(node, Many) and node.braced for node in (gold, answer)):
        return False
    if isinstance(gold, Chain) and isinstance(answer, Chain) and gold.nodes[0] is answer.nodes[0] is None:
        return same_name(gold.sides[0], answer.sides[0]) and same(gold, answer)
    return same(gold, answer)


def _same_many(gold: Node, answer: Node) -> bool:
    """Several answers match in any order, each once. Unbracketed answers match a tuple in the tuple's order."""
    for one, other in ((gold, answer), (answer, gold)):
        if isinstance(one, Many) and isinstance(other, Ordered):
            is_tuple = other.opening + other.closing == "()" and one.kind == "answers" and not one.braced
            in_order = is_tuple and _same_in_order(other.items, _by_name(one.items))
            return in_order or (len(one.items) == 1 and same(one.items[0], other))
    if not isinstance(gold, Many):
        return isinstance(answer, Many) and len(answer.items) == 1 and same(gold, answer.items[0])
    if not isinstance(answer, Many):
        return len(gold.items) == 1 and same(gold.items[0], answer)
    if gold.kind != answer.kind or len(gold.items) != len(answer.items):
        return False
    if _all_named(gold.items) != _all_named(answer.items):  # y = 2, x = 1 are 1, 2 in this order
        return _same_in_order(_by_name(gold.items), _by_name(answer.items))
    return _matched(gold.items, answer.items)


def _by_name(nodes: tuple[Node, ...]) -> tuple[Node, ...]:
    """Named values in the order of their names; other nodes in their own order."""
    if not _all_named(nodes):
        return nodes
    return tuple(sorted(nodes, key=lambda node: node.sides[0] if isinstance(node, Chain) else ""))


def _same_chain(gold: Node, answer: Node) -> bool:
    """Equations: the same value stated of a quantity, or the same equation."""
    if isinstance(gold, Chain) and isinstance(answer, Chain):
        if sorted(map(spelled, gold.sides)) == sorted(map(spelled, answer.sides)) and gold.rounded == answer.rounded:
            return True
        return _same_statement(gold, answer) or _same_equation(gold, answer)
    if isinstance(gold, Chain):
        values = _stated(gold, strict=True)
        return any(same(value, answer) for value in values)
    assert isinstance(answer, Chain)
    stated = _stated(answer, strict=False, gold=gold)
    return _consistent(answer) and _uncontradicted(gold, answer) and any(same(gold, value) for value in stated)


def _uncontradicted(gold: Node, answer: Chain) -> bool:
    """Whether all sides in the variables of `gold` equal it: y = 3x + 2 = 2x + 1 does not state 2x + 1."""
    variables = _variables(gold)
    if not variables:
        return True  # see _consistent
    sides = answer.nodes[1:] if answer.nodes[0] is not None and _asked_for(answer.sides[0]) else answer.nodes
    return all(node is None or not _variables(node) <= variables or same(gold, node) for node in sides)


def _variables(node: Node) -> frozenset[str]:
    """Variables of an expression; none for other nodes."""
    if not isinstance(node, Leaf) or plain_text(node.text) is not None or number(node.text) is not None:
        return frozenset()
    expression = parse(node.text)
    return frozenset() if expression is None else expression.variables


def _stated(chain: Chain, strict: bool, gold: Node | None = None) -> list[Node]:
    """Values that a chain states. `strict`: its first side must be a plain name of a quantity, or a value itself.

    An answer is taken at its word: a first side with letters but without digits is what was asked for ("m + n = 5").
    Rounded sides count only against a gold answer that is a decimal.
    """
    named = chain.nodes[0] is None or (not strict and _asked_for(chain.sides[0]))
    exact = [node for node, rounded in zip(chain.nodes, chain.rounded, strict=True) if node is not None and not rounded]
    if named:
        values = exact[0 if chain.nodes[0] is None else 1 :]
        if strict and len(values) > 1:  # a formula before its value, or else equal forms; a = b = c states nothing
            values = [value for value in values if not _variables(value)] or values
            values = values if all(_agrees(values[0], value, False) for value in values[1:]) else []
    elif chain.nodes[-1] is None:
        values = exact  # 9 = t
    else:
        if not all(_agrees(exact[0], node, False) for node in exact[1:]) or not _constant(chain.sides[0]):
            return []
        values = exact
    if gold is None or _decimal(gold):
        values = values + [
            node for node, rounded in zip(chain.nodes, chain.rounded, strict=True) if node is not None and rounded
        ]
    return values


def _asked_for(side: str) -> bool:
    return not (re.search(r"\d", side) or side.startswith(("-", "\\neg"))) and re.search(r"[A-Za-z]", side) is not None


def _constant(side: str) -> bool:
    """Whether a side has a value of its own, without variables."""
    if number(side) is not None:
        return True
    expression = parse(side)
    return expression is not None and not expression.variables


def _decimal(node: Node) -> bool:
    if isinstance(node, Many | Ordered):
        return any(map(_decimal, node.items))
    value = number(node.text) if isinstance(node, Leaf) else None
    return value is not None and value.decimal


def _consistent(chain: Chain) -> bool:
    """Whether the sides of an answer agree: n = 8 = 9 states nothing. Sides with variables are formulas."""
    known = [
        (node, rounded)
        for side, node, rounded in zip(chain.sides, chain.nodes, chain.rounded, strict=True)
        if node is not None and not (isinstance(node, Leaf) and not _constant_leaf(node))
    ]
    if any(_repeats_the_name(chain.sides[0], side) for side in chain.sides[1:-1] if chain.nodes[0] is None):
        return False
    return all(_agrees(known[0][0], node, rounded) for node, rounded in known[1:])


def _constant_leaf(leaf: Leaf) -> bool:
    return plain_text(leaf.text) is not None or _constant(leaf.text)


def _repeats_the_name(name: str, side: str) -> bool:
    """x = 3 x = 7: two statements without anything between them."""
    return re.search(rf"(?:^|[\d\s}}]){re.escape(name.strip())}$", side.strip()) is not None


def _agrees(exact: Node, other: Node, rounded: bool) -> bool:
    """Whether a side equals the first one, or is it rounded to the decimals that are written."""
    if same(exact, other):
        return True
    value = number(other.text) if isinstance(other, Leaf) else None
    if value is None or not isinstance(exact, Leaf) or not isinstance(other, Leaf) or not (rounded or value.decimal):
        return False
    if not re.fullmatch(r"[+-]?[\d,]*\.?\d*", other.text):
        return False
    places = len(other.text.partition(".")[2])
    first = number(exact.text)
    if first is not None:
        return abs(first.exact - value.exact) < Fraction(1, 10**places)
    expression = parse(exact.text)
    return expression is not None and expression.rounds_to(value.exact, places)


def _same_statement(gold: Chain, answer: Chain) -> bool:
    """Whether both state the same value of the same quantity; a function may have another name (y for f(x))."""
    if not _consistent(answer):
        return False
    values, others = _stated(gold, strict=True), _stated(answer, strict=False)
    if not any(same(value, other) for value in values for other in others):
        return False
    if not all(_uncontradicted(value, answer) for value in values[-1:]):
        return False
    names = [chain.sides[0] if chain.nodes[0] is None else chain.sides[-1] for chain in (gold, answer)]
    if not all(map(names_a_quantity, names)):
        return not is_name(names[0]) or not is_name(names[1])
    one_letter = [len(name.strip()) == 1 for name in names]
    if same_name(*names) or (any(one_letter) and not all(map(is_name, names))):
        return True
    return _renamed_function(names[0], names[1], values)


def _renamed_function(name: str, other: str, values: list[Node]) -> bool:
    """Whether two names are of one function of the variable in `values`: f(x) and y, f(x) and g(x)."""
    calls = [call for call in (is_function(name), is_function(other)) if call]
    if not calls or len({call.group(2) for call in calls}) != 1:
        return False
    variable = calls[0].group(2)
    plain = [text.strip() for text in (name, other) if not is_function(text)]
    if any(text == variable or len(text) > 1 for text in plain):
        return False
    return any(
        isinstance(value, Leaf) and re.search(rf"(?<![A-Za-z\\]){variable}(?![A-Za-z])", value.text) for value in values
    )


def _same_equation(gold: Chain, answer: Chain) -> bool:
    """Whether two equations differ by a constant factor. "x = 1" and "y = 1" do not."""
    if len(gold.sides) != 2 or len(answer.sides) != 2:
        return False
    if all(chain.nodes[0] is None for chain in (gold, answer)) and not same_name(gold.sides[0], answer.sides[0]):
        return False
    right, other = gold.nodes[1], answer.nodes[1]
    if same_name(gold.sides[0], answer.sides[0]) and right is not None and other is not None:
        if same(right, other):
            return True
        if all(isinstance(node, Leaf) and number(node.text) for node in (right, other)):
            return False
    return _factor(gold.sides, answer.sides) is not None


def _factor(gold: Sequence[str], answer: Sequence[str]) -> int | None:
    """The sign of c with gold.left - gold.right = c (answer.left - answer.right); None if there is no constant c."""
    left, right, other_left, other_right = (parse(side) for side in (*gold, *answer))
    if left is None or right is None or other_left is None or other_right is None:
        return None
    return (left - right).factor(other_left - other_right)


_DIRECTION = {"<": ("<", 1), "\\le": ("\\le", 1), ">": ("<", -1), "\\ge": ("\\le", -1), "\\ne": ("\\ne", 0)}


def _same_inequality(gold: Node, answer: Node) -> bool:
    """Whether two inequalities differ by a constant factor, which turns them around if it is negative."""
    one, other = _inequality(gold), _inequality(answer)
    if (
        one is None
        or other is None
        or _DIRECTION.get(one.operator, ("", 0))[0] != _DIRECTION.get(other.operator, ("", 0))[0]
    ):
        return False
    if one.operator not in _DIRECTION:
        return one.operator == other.operator and spelled(one.left + one.right) == spelled(other.left + other.right)
    if one.operator == other.operator and same_name(one.left, other.left) and same_name(one.right, other.right):
        return True
    sign = _factor((one.left, one.right), (other.left, other.right))
    if sign is None:
        return False
    turned = _DIRECTION[one.operator][1] * _DIRECTION[other.operator][1]
    return turned == 0 or sign == turned


def _inequality(node: Node) -> Relation | None:
    """The node as an inequality; a half-line as one of x."""
    if isinstance(node, Relation):
        return node
    if not isinstance(node, Ordered) or len(node.items) != 2 or not all(isinstance(item, Leaf) for item in node.items):
        return None
    low, high = (item.text for item in node.items if isinstance(item, Leaf))
    if low == "-\\infty" and node.opening == "(":
        return Relation("x", "<" if node.closing == ")" else "\\le", high)
    if high == "\\infty" and node.closing == ")":
        return Relation("x", ">" if node.opening == "(" else "\\ge", low)
    return None


def _same_residue(gold: tuple[Node, ...], answer: tuple[Node, ...]) -> bool:
    """Whether two residue classes are the same: 7 and 2 modulo 5."""
    numbers = [number(item.text) for item in (*gold, *answer) if isinstance(item, Leaf)]
    values = [value.exact for value in numbers if value is not None]
    if len(values) == 4 and all(value.denominator == 1 for value in values) and values[1]:
        same_class = values[1] == values[3] and (values[0] - values[2]) % values[1] == 0
        return same_class and same(gold[2], answer[2])
    return _same_in_order(gold, answer)


def _same_leaf(gold: Leaf, answer: Leaf) -> bool:
    if gold.literal or answer.literal:
        return spelled(gold.text) == spelled(answer.text)
    words, other_words = plain_text(gold.text), plain_text(answer.text)
    if words is not None and words == other_words:
        return True
    answer = _with_bare_unit(answer, gold.unit)
    if _same_unit(gold, answer) and _same_quantity(gold.text, answer.text):
        return True
    if {gold.unit, answer.unit} == {None, "%"}:  # 0.08 for 8 %
        scaled = (f"({gold.text})/100", answer.text) if gold.unit else (gold.text, f"({answer.text})/100")
        return _same_quantity(*scaled)
    return False


_BARE_UNIT = re.compile(r"(.*[\d})])\s*([A-Za-z][A-Za-z ./]*)", re.DOTALL)


def _with_bare_unit(answer: Leaf, unit: str | None) -> Leaf:
    """`answer` with the gold answer's unit split off, if the answer ends with it in bare letters: "5 m", "7 people"."""
    match = _BARE_UNIT.fullmatch(answer.text) if unit is not None and answer.unit is None else None
    return answer if match is None or unit_name(match.group(2)) != unit else Leaf(match.group(1), unit)


def _same_unit(gold: Leaf, answer: Leaf) -> bool:
    """Whether the units agree. One may be missing, because the question names it; two different units do not agree.

    What is missing must be only a unit: "5 or more" is not 5, and 0.45 % is not 0.45.
    """
    if gold.unit == answer.unit:
        return True
    if gold.unit is not None and answer.unit is not None:
        return False
    if answer.unit == "%":
        value = _value(gold.text)
        return value is None or abs(value.exact) >= 1
    return not alters(gold.unit or answer.unit or "")


def _same_quantity(gold: str, answer: str) -> bool:
    if gold == answer:
        return True
    value, other = _value(gold), _value(answer)
    if value is not None and other is not None:
        return same_value(value, other)
    expression = parse(gold) if value is None else Expression.of(value)
    other_expression = parse(answer) if other is None else Expression.of(other)
    if expression is None or other_expression is None:
        return expression is other_expression and " ".join(gold.split()) == " ".join(answer.split())
    return expression.equals(other_expression)


def _value(text: str) -> Value | None:
    """A numeral's value. Also reads "(NUMERAL)/100"."""
    if text.startswith("(") and text.endswith(")/100") and (inner := number(text[1:-5])) is not None:
        return Value(inner.exact / 100, inner.decimal)
    return number(text)


def same_value(gold: Value, answer: Value) -> bool:
    """Exact values must be equal, two decimals nearly equal, a decimal and an exact value equal after rounding."""
    difference = abs(gold.exact - answer.exact)
    scale = max(abs(gold.exact), abs(answer.exact))
    if not gold.decimal and not answer.decimal:
        return difference == 0
    if gold.decimal and answer.decimal:
        return difference <= SAME * scale and (difference <= ROUNDED or difference <= MACHINE * scale)
    places = (gold if gold.decimal else answer).places
    written = places is None or difference < Fraction(1, 10) ** places
    return written and difference <= ROUNDED and difference <= ROUNDED_RELATIVE * scale


def _no_expression(text: str) -> Unreadable:
    if len(text) > LONGEST:
        return Unreadable(f"an expression of more than {LONGEST:,} characters")
    return Unreadable(f"no expression: {shortened(text)}")


def check(node: Node) -> None:
    """Raise Unreadable if a gold answer contains an expression that Math-Verify's parser cannot read."""
    match node:
        case Leaf(text, _, literal):
            if not literal and plain_text(text) is None and number(text) is None and parse(text) is None:
                raise _no_expression(text)
        case Many(items) | Ordered(_, items, _):
            for item in items:
                check(item)
        case Matrix(rows):
            for row in rows:
                for item in row:
                    check(item)
        case Relation(left, _, right):
            for side in (left, right):
                if parse(side) is None and not is_name(side):
                    raise _no_expression(side)
        case Chain(_, nodes):
            for side_node in nodes:
                if side_node is not None:
                    check(side_node)
