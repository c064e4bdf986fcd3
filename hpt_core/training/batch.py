"""Rows as tensors: sorted by length, cut into micro-batches by a token budget, padded on the right.

Attention is causal and padding is on the right, so no token sees padding and no attention mask is needed.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from torch import Tensor, device


@dataclass(frozen=True, slots=True)
class Tokens:
    """One row's tokens."""

    prompt_ids: tuple[int, ...]
    response_ids: tuple[int, ...]
    temperature: float = 1.0
    """Of the distribution that the response counts under: the sampler's for rollouts, 1 for demonstrations."""

    @property
    def length(self) -> int:
        """Tokens that pass through the model: the last one predicts nothing and stays out."""
        return len(self.prompt_ids) + len(self.response_ids) - 1


class MicroBatch(NamedTuple):
    """R rows of N response tokens, rows laid end to end."""

    input_ids: "Tensor"
    """[R, T] int64, padded on the right."""
    positions: "Tensor"
    """[N] int64; index into the flattened [R * T] positions whose output predicts each response token."""
    targets: "Tensor"
    """[N] int64; the response tokens."""
    temperatures: "Tensor"
    """[N] float32."""
    row_ids: "Tensor"
    """[N] int64, ascending; row of each response token."""


def split(lengths: Sequence[int], budget: int) -> list[list[int]]:
    """Indices of `lengths` grouped so that rows times the longest row, which is what padding costs, stays within
    `budget` tokens; a longer row is alone. Longest first, ties in the given order."""
    groups: list[list[int]] = []
    for i in sorted(range(len(lengths)), key=lambda i: -lengths[i]):
        if groups and lengths[groups[-1][0]] * (len(groups[-1]) + 1) <= budget:
            groups[-1].append(i)
        else:
            groups.append([i])
    return groups


def collate(rows: Sequence[Tokens], device: "device | str" = "cpu") -> MicroBatch:
    """`rows` as one padded micro-batch."""
    import torch

    width = max(row.length for row in rows)
    ids = torch.zeros(len(rows), width, dtype=torch.int64)
    positions, targets, temperatures, row_ids = [], [], [], []
    for r, row in enumerate(rows):
        ids[r, : row.length] = torch.tensor((*row.prompt_ids, *row.response_ids)[:-1])
        first = r * width + len(row.prompt_ids) - 1
        count = len(row.response_ids)
        positions.append(torch.arange(first, first + count))
        targets.append(torch.tensor(row.response_ids))
        temperatures.append(torch.full((count,), row.temperature))
        row_ids.append(torch.full((count,), r))
    parts = (positions, targets, temperatures, row_ids)
    return MicroBatch(ids.to(device), *(torch.cat(part).to(device) for part in parts))
