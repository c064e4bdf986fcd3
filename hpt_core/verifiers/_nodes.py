"""The structure of an answer: a list of answers, a tuple, a set, an interval, a matrix, a relation, or a leaf."""

from dataclasses import dataclass


class Unreadable(Exception):
    """The text is not an answer: it is empty or its brackets do not match."""


@dataclass(frozen=True, slots=True)
class Leaf:
    """A number, expression or text, with its unit if one is written ("deg", "%", "cm^2", "base 8")."""

    text: str
    unit: str | None = None
    literal: bool = False
    """Compared by its spelling alone: a time of day, an ellipsis."""


@dataclass(frozen=True, slots=True)
class Many:
    """Several answers in any order: "1, -2", a set in braces, or the parts of a union (`kind` tells them apart)."""

    items: tuple["Node", ...]
    kind: str = "answers"
    name: str = ""
    """The variable of a set that is written with inequalities."""
    braced: bool = False
    """Whether it is a set in braces, which is not a tuple."""


@dataclass(frozen=True, slots=True)
class Ordered:
    """A tuple, an interval, a sequence with an ellipsis ("" for its brackets) or a residue class ("mod"). Brackets and
    order matter."""

    opening: str
    items: tuple["Node", ...]
    closing: str
    name: str = ""
    """The variable of an interval that is written with inequalities."""


@dataclass(frozen=True, slots=True)
class Matrix:
    """Rows of a matrix or a column vector."""

    rows: tuple[tuple["Node", ...], ...]
    text: str


@dataclass(frozen=True, slots=True)
class Chain:
    """Sides joined by equals signs: "x = 2\\sqrt{5} \\approx 4.47"."""

    sides: tuple[str, ...]
    """As they are written."""
    nodes: tuple["Node | None", ...]
    """As they are read; None for a side that only names a quantity."""
    rounded: tuple[bool, ...]
    """Whether a side follows \\approx."""


@dataclass(frozen=True, slots=True)
class Relation:
    """`left` and `right` with an inequality or \\ne between them."""

    left: str
    operator: str
    right: str


Node = Leaf | Many | Ordered | Matrix | Chain | Relation
