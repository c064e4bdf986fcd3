"""Statistics per sequence, for parts that use one weight per response."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor


def sequence_means(values: "Tensor", row_ids: "Tensor", lengths: "Tensor") -> "Tensor":
    """[T] float; for each token, the mean of `values` ([T] float) over its row.

    `row_ids` [T] int64 is the row of each token, and `lengths` [R] int64 is the number of tokens of each row.
    """
    sums = values.new_zeros(len(lengths)).index_add(0, row_ids, values)
    return (sums / lengths)[row_ids]
