"""Decides whether two parsed answers are equal: first their structure, then numbers, texts and expressions."""

import re
from fractions import Fraction

from hpt_core.verifiers._expressions import parse
from hpt_core.verifiers._latex import plain_text, unit_name
from hpt_core.verifiers._numbers import Value, number
from hpt_core.verifiers._reading import Leaf, Many, Matrix, Node, Ordered, Relation, Unreadable

SAME = Fraction(1, 10**9)
"""Maximum relative difference of two equal decimals, if the absolute difference is at most ROUNDED."""
MACHINE = Fraction(1, 10**12)
"""Maximum relative difference if the absolute one exceeds ROUNDED: 999999999.0 is not 1000000000.0."""
ROUNDED = Fraction(1, 10**6)
"""Maximum absolute difference between a decimal and the exact value that it rounds (0.333333 for 1/3)."""
ROUNDED_RELATIVE = Fraction(1, 10**4)
"""Maximum relative difference in the same case. Without it, every tiny number would equal every other."""


def same(gold: Node, answer: Node) -> bool:
    """Whether `answer` equals `gold`."""
    if isinstance(gold, Many) or isinstance(answer, Many):
        return _same_many(gold, answer)
    if isinstance(gold, Relation) or isinstance(answer, Relation):
        return _same_relation(gold, answer)
    if isinstance(gold, Ordered) and isinstance(answer, Ordered):
        brackets = gold.opening == answer.opening and gold.closing == answer.closing
        return brackets and _same_in_order(gold.items, answer.items)
    if isinstance(gold, Matrix) and isinstance(answer, Matrix):
        return len(gold.rows) == len(answer.rows) and all(map(_same_in_order, gold.rows, answer.rows))
    if isinstance(gold, Matrix) and isinstance(answer, Ordered):  # a tuple for a column vector
        return answer.opening + answer.closing == "()" and _same_in_order(_column(gold), answer.items)
    if isinstance(gold, Ordered) and isinstance(answer, Matrix):
        return gold.opening + gold.closing == "()" and _same_in_order(gold.items, _column(answer))
    return isinstance(gold, Leaf) and isinstance(answer, Leaf) and _same_leaf(gold, answer)


def _column(matrix: Matrix) -> tuple[Node, ...]:
    return tuple(row[0] for row in matrix.rows) if all(len(row) == 1 for row in matrix.rows) else ()


def _same_in_order(gold: tuple[Node, ...], answer: tuple[Node, ...]) -> bool:
    return len(gold) == len(answer) and all(map(same, gold, answer))


def _same_many(gold: Node, answer: Node) -> bool:
    """Several answers match in any order, each once. Unbracketed answers match a tuple in the tuple's order."""
    for one, other in ((gold, answer), (answer, gold)):
        if isinstance(one, Many) and isinstance(other, Ordered):
            round_brackets = other.opening + other.closing == "()" and one.kind == "answers"
            in_order = round_brackets and _same_in_order(other.items, one.items)
            return in_order or (len(one.items) == 1 and same(one.items[0], other))
        if isinstance(one, Many) and isinstance(other, Relation):
            return _states(other) and same(one, other.right)
    if not isinstance(gold, Many):
        return isinstance(answer, Many) and len(answer.items) == 1 and same(gold, answer.items[0])
    if not isinstance(answer, Many):
        return len(gold.items) == 1 and same(gold.items[0], answer)
    if gold.kind != answer.kind or len(gold.items) != len(answer.items):
        return False
    left = list(answer.items)
    for item in gold.items:
        match = next((i for i, other in enumerate(left) if same(item, other)), None)
        if match is None:
            return False
        del left[match]
    return True


_NAME = re.compile(
    r"(?:\\?[A-Za-z]+|\\text\{[^{}]*\})'*(?:_(?:\w|\{[^{}]*\}))?(?:\^(?:\\prime|\{\\prime\}))?(?:\s*\([\w\s,]*\))?"
)
"""Left side of an equation that only names the answer: x, M, f(x), m_{\\max}."""


def _same_relation(gold: Node, answer: Node) -> bool:
    if isinstance(gold, Relation) and isinstance(answer, Relation):
        if gold.operator != answer.operator:
            return False
        if _spelled(gold.left) == _spelled(answer.left):
            if same(gold.right, answer.right):
                return True
            if _is_numeral(gold.right) and _is_numeral(answer.right):
                return False
        return _same_equation(gold, answer)
    if isinstance(gold, Relation):
        return gold.operator == "=" and _is_name(gold.left) and same(gold.right, answer)
    assert isinstance(answer, Relation)
    return _states(answer) and same(gold, answer.right)


def _states(answer: Relation) -> bool:
    """Whether an equation states its right side's value, as "x = 5", "m + n = 5" and "2 + 3 = 5" do, but "2x = 5" does
    not.

    A left side without a digit and without a leading sign is taken as the quantity asked for.
    """
    if answer.operator != "=":
        return False
    left = answer.left.strip()
    if _is_name(left) or not (re.search(r"\d", left) or left.startswith(("-", "\\neg"))):
        return True
    return isinstance(answer.right, Leaf) and _same_quantity(answer.right.text, left)


def _is_numeral(node: Node) -> bool:
    return isinstance(node, Leaf) and number(node.text) is not None


def _is_name(text: str) -> bool:
    return _NAME.fullmatch(text.strip()) is not None or text.strip().startswith("\\angle")


def _spelled(text: str) -> str:
    return re.sub(r"[\s{}]", "", text)


def _same_equation(gold: Relation, answer: Relation) -> bool:
    """Whether two equations differ by a constant factor. "x = 1" and "y = 1" do not."""
    sides = [gold.left, gold.right, answer.left, answer.right]
    texts = [side.text if isinstance(side, Leaf) else side for side in sides]
    if gold.operator != "=" or not all(isinstance(text, str) for text in texts):
        return False
    parsed = [parse(text) for text in texts if isinstance(text, str)]
    if any(expression is None for expression in parsed):
        return False
    left, right, other_left, other_right = (expression for expression in parsed if expression is not None)
    return (left - right).proportional(other_left - other_right)


def _same_leaf(gold: Leaf, answer: Leaf) -> bool:
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


_NO_UNIT = frozenset(
    {"and", "or", "not", "no", "is", "are", "than", "least", "most", "more", "less", "fewer", "over", "under", "about"}
    | {"squared", "cubed", "times", "half", "twice"}
)
"""Words after a number that change its meaning."""


def _same_unit(gold: Leaf, answer: Leaf) -> bool:
    """Whether the units agree. One may be missing, because the question names it; two different units do not agree.

    An added unit must be only a unit: "5 or more" is not 5, and 0.45 % is not 0.45.
    """
    if gold.unit is not None or answer.unit is None:
        return answer.unit is None or gold.unit == answer.unit
    if answer.unit == "%":
        value = _value(gold.text)
        return value is None or abs(value.exact) >= 1
    return not answer.unit.startswith("^") and not _NO_UNIT.intersection(answer.unit.split())


def _same_quantity(gold: str, answer: str) -> bool:
    value, other = _value(gold), _value(answer)
    if value is not None and other is not None:
        return same_value(value, other)
    expression, other_expression = parse(gold), parse(answer)
    if expression is None or other_expression is None:
        return _spelled(gold) == _spelled(answer)
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
    return difference <= ROUNDED and difference <= ROUNDED_RELATIVE * scale


def check(node: Node) -> None:
    """Raise Unreadable if a gold answer contains an expression that Math-Verify's parser cannot read."""
    match node:
        case Leaf(text):
            if plain_text(text) is None and number(text) is None and parse(text) is None:
                raise Unreadable(f"no expression: {text}")
        case Many(items) | Ordered(_, items, _):
            for item in items:
                check(item)
        case Matrix(rows):
            for row in rows:
                for item in row:
                    check(item)
        case Relation(left, _, right):
            if parse(left) is None and not _is_name(left):
                raise Unreadable(f"no expression: {left}")
            check(right)
