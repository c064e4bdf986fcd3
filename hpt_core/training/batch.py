"""Split rows into micro-batches by a token budget, and convert them to tensors, packed or padded.

Packed rows are concatenated into one sequence, and attention keeps them separate. Rows with the same prompt, such as
the rollouts of one question, share one copy of it. Padding is on the right: with causal attention no token sees it, so
no mask is needed.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

from hpt_core.training.attention import Layout, Span

if TYPE_CHECKING:
    from torch import Tensor, device


@dataclass(frozen=True, slots=True)
class Tokens:
    """One row's tokens."""

    prompt_ids: tuple[int, ...]
    response_ids: tuple[int, ...]
    temperature: float = 1.0
    """Temperature at which log-probabilities are computed: the sampler's for rollouts, 1 for demonstrations."""
    rollout_logprobs: tuple[float, ...] | None = None
    """The engine's log-probabilities of the response tokens, in nats; None for demonstrations."""

    @property
    def length(self) -> int:
        """Number of tokens that pass through the model. The last token is left out because it predicts nothing."""
        return len(self.prompt_ids) + len(self.response_ids) - 1


class MicroBatch(NamedTuple):
    """R rows with N response tokens in total, concatenated."""

    input_ids: "Tensor"
    """[R, T] int64, padded on the right; [1, T] when packed."""
    position_ids: "Tensor | None"
    """[1, T] int64 when packed: the position of each token within its own row. None when padded."""
    layout: Layout | None
    """How a packed sequence is divided; None when padded."""
    positions: "Tensor"
    """[N] int64; for each response token, the index into the flattened `input_ids` whose output predicts it."""
    targets: "Tensor"
    """[N] int64; the response tokens."""
    temperatures: "Tensor | None"
    """[N] float32; None if all are 1."""
    row_ids: "Tensor"
    """[N] int64, ascending; row of each response token."""


def split(rows: Sequence[Tokens], budget: int, packed: bool) -> list[list[int]]:
    """Indices of `rows`, grouped into micro-batches of at most `budget` tokens; a longer row gets its own.

    A packed micro-batch counts each prompt once, plus every continuation. A padded one counts its number of rows times
    the longest. Micro-batches are sorted from largest to smallest, ties in the given order.
    """
    return _packed(rows, budget) if packed else _padded([row.length for row in rows], budget)


def _padded(lengths: Sequence[int], budget: int) -> list[list[int]]:
    groups: list[list[int]] = []
    for i in sorted(range(len(lengths)), key=lambda i: -lengths[i]):
        if groups and lengths[groups[-1][0]] * (len(groups[-1]) + 1) <= budget:
            groups[-1].append(i)
        else:
            groups.append([i])
    return groups


def _packed(rows: Sequence[Tokens], budget: int) -> list[list[int]]:
    bundles: list[list[int]] = []
    costs: list[int] = []
    open_bundle: dict[tuple[int, ...], int] = {}
    for i, row in enumerate(rows):
        continuation = len(row.response_ids) - 1
        b = open_bundle.get(row.prompt_ids)
        if b is None or costs[b] + continuation > budget:
            b = open_bundle[row.prompt_ids] = len(bundles)
            bundles.append([])
            costs.append(len(row.prompt_ids))
        bundles[b].append(i)
        costs[b] += continuation
    groups: list[list[int]] = []
    used: list[int] = []
    for b in sorted(range(len(bundles)), key=lambda b: -costs[b]):
        # First fit: the first group that still has room.
        g = next((g for g, cost in enumerate(used) if cost + costs[b] <= budget), len(groups))
        if g == len(groups):
            groups.append([])
            used.append(0)
        groups[g] += bundles[b]
        used[g] += costs[b]
    return [groups[g] for g in sorted(range(len(groups)), key=lambda g: -used[g])]


def collate(rows: Sequence[Tokens], device: "device | str" = "cpu", packed: bool = False) -> MicroBatch:
    """Convert `rows` to one micro-batch, packed or padded."""
    import torch

    placed = _pack(rows) if packed else _pad(rows)
    counts = torch.tensor([len(row.response_ids) for row in rows])
    temperatures = [row.temperature for row in rows]
    all_one = all(temperature == 1 for temperature in temperatures)
    return MicroBatch(
        input_ids=placed.input_ids.to(device),
        position_ids=None if placed.position_ids is None else placed.position_ids.to(device),
        layout=None if placed.layout is None else placed.layout.on(device),
        positions=torch.cat(placed.positions).to(device),
        targets=torch.tensor([token for row in rows for token in row.response_ids]).to(device),
        temperatures=None if all_one else torch.tensor(temperatures).repeat_interleave(counts).to(device),
        row_ids=torch.repeat_interleave(counts).to(device),
    )


class _Placed(NamedTuple):
    """The layout part of a MicroBatch, before it moves to the device."""

    input_ids: "Tensor"
    position_ids: "Tensor | None"
    layout: Layout | None
    positions: "list[Tensor]"
    """For each row: [response tokens] int64."""


def _pad(rows: Sequence[Tokens]) -> _Placed:
    import torch

    width = max(row.length for row in rows)
    ids = torch.zeros(len(rows), width, dtype=torch.int64)
    positions = []
    for r, row in enumerate(rows):
        ids[r, : row.length] = torch.tensor((*row.prompt_ids, *row.response_ids)[:-1])
        first = r * width + len(row.prompt_ids) - 1
        positions.append(torch.arange(first, first + len(row.response_ids)))
    return _Placed(ids, None, None, positions)


def _pack(rows: Sequence[Tokens]) -> _Placed:
    import torch

    sharing: dict[tuple[int, ...], list[int]] = {}
    for r, row in enumerate(rows):
        sharing.setdefault(row.prompt_ids, []).append(r)
    ids: list[int] = []
    position_ids: list[Tensor] = []
    spans: list[Span] = []
    positions: list[Tensor] = [torch.empty(0)] * len(rows)
    for prompt, members in sharing.items():
        span = Span(len(ids), len(prompt), tuple(len(rows[r].response_ids) - 1 for r in members))
        spans.append(span)
        ids += prompt
        position_ids.append(torch.arange(len(prompt)))
        for r, start, tokens in zip(members, span.starts, span.continuations, strict=False):
            ids += rows[r].response_ids[:-1]
            own = torch.arange(tokens)
            position_ids.append(len(prompt) + own)
            # The prompt's last token predicts the first token of each response.
            positions[r] = torch.cat([torch.tensor([span.start + len(prompt) - 1]), start + own])
    return _Placed(torch.tensor([ids]), torch.cat(position_ids)[None], Layout(tuple(spans)), positions)
