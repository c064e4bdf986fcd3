"""Sums, multiples and products of matrices, entry by entry."""

from typing import Any

from hpt_core.verifiers._values import Unsupported

Rows = list[list[Any]]


def rows(tree: Any) -> Rows | None:
    """The entries of an expression whose value is a matrix; None for a number. Raises Unsupported for what has
    neither, such as a matrix plus a number."""
    import sympy
    from sympy.core.parameters import evaluate

    if isinstance(tree, sympy.MatrixBase):
        found: Rows = tree.tolist()
        return found
    parts = [rows(part) for part in tree.args]
    matrices = [part for part in parts if part is not None]
    if not matrices:
        return None
    with evaluate(False):
        if tree.is_Add or isinstance(tree, sympy.MatAdd):
            if len(matrices) < len(parts) or len({(len(m), len(m[0])) for m in matrices}) > 1:
                raise Unsupported
            return [[sympy.Add(*cells) for cells in zip(*row, strict=True)] for row in zip(*matrices, strict=True)]
        if tree.is_Mul or isinstance(tree, sympy.MatMul):
            scale = sympy.Mul(*(argument for argument, part in zip(tree.args, parts, strict=True) if part is None))
            product = matrices[0]
            for other in matrices[1:]:
                product = _product(product, other)
            return [[sympy.Mul(scale, cell) for cell in row] for row in product]
    raise Unsupported


def _product(one: Rows, other: Rows) -> Rows:
    import sympy

    if len(one[0]) != len(other):
        raise Unsupported
    columns = list(zip(*other, strict=True))

    def entry(row: list[Any], column: tuple[Any, ...]) -> Any:
        return sympy.Add(*(sympy.Mul(a, b) for a, b in zip(row, column, strict=True)))

    return [[entry(row, column) for column in columns] for row in one]
