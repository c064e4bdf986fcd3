"""Log-probabilities and entropies of tokens. Neither the forward nor the backward pass holds all [N, V] logits at once.

Logits are computed in tiles: some rows by a slice of the vocabulary. On CPUs a tile fits the cache. The tiles of a row
are combined by the chain rule of entropy, H = sum_b w_b (H_b - log w_b), where w_b is the probability of slice b and
H_b the entropy within it. This never subtracts two large numbers.
"""

from collections.abc import Iterator
from functools import cache
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from torch import Tensor, nn

TILE_ELEMENTS = {"cpu": 2**21, "cuda": 2**27}
"""Number of logits in a tile: 8 MiB in float32 on CPUs, to fit the cache, and 512 MiB on GPUs, to launch few kernels.
Computing a tile takes about twice that memory."""
TILE_ROWS = 8192
"""Maximum rows of a tile. More rows would make its vocabulary slice, and so the matrix products, too narrow."""


class TokenStatistics(NamedTuple):
    """Statistics of N response tokens."""

    logprobs: "Tensor"
    """[N] float32, nats."""
    entropies: "Tensor"
    """[N] float32, nats; entropy of the distribution that each token was sampled from."""
    values: "Tensor | None" = None
    """[N] float32; the value head's estimate before each token; None without a value head."""


def token_statistics(
    hidden: "Tensor",
    head: "nn.Module",
    targets: "Tensor",
    temperatures: "Tensor | None" = None,
    tile_elements: int | None = None,
) -> TokenStatistics:
    """Statistics of `targets` [N] under softmax(head(hidden) / temperatures); hidden [N, D], temperatures [N] float32
    or None for 1.

    `head` is linear, with or without bias. Logits are computed tile by tile, in autocast's dtype if it is enabled, and
    computed again in the backward pass. At most one tile of `tile_elements` logits is in memory; None uses the
    device's default.
    """
    elements = tile_elements or TILE_ELEMENTS.get(hidden.device.type, TILE_ELEMENTS["cuda"])
    bias = getattr(head, "bias", None)
    logprobs, entropies = _function().apply(hidden, head.weight, bias, targets, temperatures, elements)
    return TokenStatistics(logprobs, entropies)


def _compute_dtype(hidden: "Tensor") -> Any:
    import torch

    device = hidden.device.type
    return torch.get_autocast_dtype(device) if torch.is_autocast_enabled(device) else hidden.dtype


class _Tile(NamedTuple):
    """Slices of the rows and of the vocabulary."""

    rows: slice
    vocabulary: slice

    def targets(self, targets: "Tensor") -> tuple["Tensor", "Tensor"]:
        """For the tile's rows: ([n, 1] column of the target, [n, 1] whether the target is in the tile)."""
        mine = targets[self.rows, None]
        inside = (mine >= self.vocabulary.start) & (mine < self.vocabulary.stop)
        return (mine - self.vocabulary.start).clamp_(0, self.vocabulary.stop - self.vocabulary.start - 1), inside


def _tiles(rows: int, vocabulary: int, elements: int) -> Iterator[_Tile]:
    height = max(1, min(rows, TILE_ROWS, elements))
    width = max(1, min(vocabulary, elements // height))
    for row in range(0, rows, height):
        for token in range(0, vocabulary, width):
            yield _Tile(slice(row, min(row + height, rows)), slice(token, min(token + width, vocabulary)))


class _Head(NamedTuple):
    """A linear head and its inputs, in the compute dtype."""

    hidden: "Tensor"
    weight: "Tensor"
    bias: "Tensor | None"
    temperatures: "Tensor | None"

    @classmethod
    def cast(
        cls, hidden: "Tensor", weight: "Tensor", bias: "Tensor | None", temperatures: "Tensor | None", dtype: Any
    ) -> "_Head":
        return cls(hidden.to(dtype), weight.to(dtype), None if bias is None else bias.to(dtype), temperatures)

    def logits(self, tile: _Tile) -> "Tensor":
        """[n, m] scaled logits of `tile`, in float32 or wider."""
        import torch

        bias = None if self.bias is None else self.bias[tile.vocabulary]
        logits = torch.nn.functional.linear(self.hidden[tile.rows], self.weight[tile.vocabulary], bias)
        logits = logits if logits.dtype == torch.float64 else logits.float()
        return self.scaled(logits, tile)

    def scaled(self, values: "Tensor", tile: _Tile) -> "Tensor":
        """`values` [n, m] divided by the temperatures of the tile's rows, in place."""
        return values if self.temperatures is None else values.div_(self.temperatures[tile.rows, None])


class _Joined:
    """Normalizers (log of the sum of exponentials) and entropies of rows, over the vocabulary slices added so far."""

    def __init__(self, like: "Tensor") -> None:
        """`like`: [N]."""
        import torch

        self.normalizers = torch.full_like(like, -torch.inf)
        self.entropies = torch.zeros_like(like)

    def take(self, rows: slice, logits: "Tensor") -> None:
        """Add a tile's `logits` [n, m]. They are overwritten."""
        import torch

        largest = logits.amax(-1)
        exponentials = logits.sub_(largest[:, None]).exp()
        total = exponentials.sum(-1)
        # Entropy within the slice. The subtracted term is at most about log m.
        entropies = total.log() - torch.linalg.vecdot(exponentials, logits) / total
        normalizers = largest + total.log()
        before = self.normalizers[rows]
        joined = torch.logaddexp(before, normalizers)
        log_shares = torch.stack([before - joined, normalizers - joined])
        of_each = torch.stack([self.entropies[rows], entropies])
        # 0 log 0 = 0: a share of 0 adds nothing.
        self.entropies[rows] = (log_shares.exp() * (of_each - log_shares.clamp(min=_LOG_ZERO))).sum(0)
        self.normalizers[rows] = joined


_LOG_ZERO = -1e4
"""Replaces log 0 where it is multiplied by the probability 0."""


@cache
def _function() -> Any:
    """The autograd function, defined on demand because configs load without torch."""
    import torch

    class TiledStatistics(torch.autograd.Function):
        """(hidden [N, D], weight [V, D], bias [V] or None, targets [N], temperatures [N] or None, elements per tile)
        -> (logprobs [N], entropies [N])."""

        @staticmethod
        def forward(ctx: Any, *inputs: Any) -> tuple["Tensor", "Tensor"]:
            hidden, weight, bias, targets, temperatures, ctx.elements = inputs
            ctx.dtype = _compute_dtype(hidden)
            wide = torch.float64 if ctx.dtype == torch.float64 else torch.float32
            of_targets = hidden.new_zeros(len(targets), dtype=wide)
            joined = _Joined(of_targets)
            # Cast once here; autocast would cast again for every tile.
            with torch.autocast(hidden.device.type, enabled=False):
                head = _Head.cast(hidden, weight, bias, temperatures, ctx.dtype)
                for tile in _tiles(len(targets), len(weight), ctx.elements):
                    logits = head.logits(tile)
                    columns, inside = tile.targets(targets)
                    of_targets[tile.rows] += torch.where(inside, logits.gather(1, columns), 0)[:, 0]
                    joined.take(tile.rows, logits)
            ctx.save_for_backward(hidden, weight, bias, targets, temperatures, joined.normalizers, joined.entropies)
            ctx.set_materialize_grads(False)
            return of_targets - joined.normalizers, joined.entropies

        @staticmethod
        def backward(ctx: Any, *gradients: "Tensor | None") -> tuple["Tensor | None", ...]:
            hidden, weight, bias, targets, temperatures, normalizers, entropies = ctx.saved_tensors
            head = _Head.cast(hidden, weight, bias, temperatures, ctx.dtype)
            for_hidden, for_weight, for_bias = (
                None if tensor is None or not needed else torch.zeros_like(tensor, dtype=normalizers.dtype)
                for tensor, needed in zip((hidden, weight, bias), ctx.needs_input_grad, strict=False)
            )
            for tile in _tiles(len(targets), len(weight), ctx.elements):
                rows, vocabulary = tile
                logs = head.logits(tile).sub_(normalizers[rows, None])
                by_logprob, by_entropy = (None if g is None else g[rows, None] for g in gradients)
                by_logits = _by_logits(logs, *tile.targets(targets), entropies[rows, None], by_logprob, by_entropy)
                by_logits = head.scaled(by_logits, tile)
                narrow = by_logits.to(ctx.dtype)
                if for_hidden is not None:
                    _add_product(for_hidden[rows], narrow, head.weight[vocabulary])
                if for_weight is not None:
                    _add_product(for_weight[vocabulary], narrow.t(), head.hidden[rows])
                if for_bias is not None:
                    for_bias[vocabulary] += by_logits.sum(0)
            found = zip((for_hidden, for_weight, for_bias), (hidden, weight, bias), strict=True)
            return *(None if g is None else g.to(tensor.dtype) for g, tensor in found), None, None, None

    return TiledStatistics


def _by_logits(
    logs: "Tensor",
    columns: "Tensor",
    inside: "Tensor",
    entropies: "Tensor",
    by_logprob: "Tensor | None",
    by_entropy: "Tensor | None",
) -> "Tensor":
    """[n, m] gradient with respect to the scaled logits z. logs [n, m] = log p is overwritten; the others are [n, 1].

    d log p_y / d z = onehot(y) - p and d H / d z = - p (log p + H).
    """
    if by_entropy is None:
        gradient = logs.exp_()
    else:
        gradient = logs.exp()
        logs.add_(entropies).mul_(-by_entropy)
        gradient.mul_(logs if by_logprob is None else logs.sub_(by_logprob))
    if by_logprob is not None:
        if by_entropy is None:
            gradient.mul_(-by_logprob)
        gradient.scatter_add_(1, columns, by_logprob * inside)
    return gradient


def _add_product(total: "Tensor", left: "Tensor", right: "Tensor") -> None:
    """total [n, m] += left [n, k] right [k, m], in place."""
    if left.dtype == total.dtype:
        total.addmm_(left, right)
    else:
        total += left @ right
