"""One optimiser update: micro-batched loss, guards, step. It knows no algorithm, only the estimator's streams."""

import logging
import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import pyarrow as pa

from hpt_core.config import TrainConfig
from hpt_core.errors import NonFiniteError
from hpt_core.files import write_parquet
from hpt_core.training.batch import Tokens, collate, split
from hpt_core.training.logprobs import forward
from hpt_core.training.optimiser import apply_update, zero_gradients
from hpt_core.upge.base import DEMONSTRATION, Row, TokenBatch
from hpt_core.upge.estimator import Estimator, Update

if TYPE_CHECKING:
    from torch import Tensor, nn
    from torch.optim import AdamW

logger = logging.getLogger("hpt.training.update")


@dataclass
class Updated:
    """What one update did."""

    loss: float = 0.0
    norm: float = 0.0
    skipped: bool = False
    tokens: int = 0
    """Response tokens that passed through the model with gradient."""
    demonstration_nats: float = 0.0
    """Sum of -log pi over demonstration tokens: the estimator's own value of that loss has the right gradient alone."""
    demonstration_tokens: int = 0
    metrics: Counter[str] = field(default_factory=Counter)
    """Sums of LossOutput.metrics."""


class Updater:
    """Applies updates to one model."""

    def __init__(
        self, model: "nn.Module", optimiser: "AdamW", estimator: Estimator, config: TrainConfig, dumps: Path
    ) -> None:
        """`dumps` is the folder that receives the batch of a non-finite update."""
        self.model = model
        self.optimiser = optimiser
        self.estimator = estimator
        self.config = config
        self.dumps = dumps
        self.device = next(model.parameters()).device

    def run(self, rows: Sequence[Row], tokens: Sequence[Tokens], rate: float, step: int) -> list[Updated]:
        """Train on a step's `rows` (`tokens[i]` belong to `rows[i]`) in updates of `minibatch_rows`.

        Raises NonFiniteError, with the batch on disk and the weights as they were before the update.
        """
        size = self.config.minibatch_rows or max(1, len(rows))
        parts = [range(i, min(i + size, len(rows))) for i in range(0, len(rows), size)]
        updates = [self.estimator.update([rows[i] for i in part]) for part in parts]
        tokens_of = [[tokens[i] for i in part] for part in parts]
        old: list[dict[int, Tensor] | None] = [None] * len(parts)
        if len(parts) > 1 and self.estimator.uses_old_logprobs:
            old = [self._old_logprobs(update, mine) for update, mine in zip(updates, tokens_of, strict=True)]
        return [self._one(u, t, o, rate, step) for u, t, o in zip(updates, tokens_of, old, strict=True)]

    def gradient(self, update: Update, tokens: Sequence[Tokens], old: "dict[int, Tensor] | None" = None) -> Updated:
        """Accumulate the gradient of the whole update, micro-batch by micro-batch.

        `old`: per row, the policy's logprobs at rollout time; None where that is the policy itself.
        """
        import torch

        zero_gradients(self.model)
        done = Updated()
        for members in self._micro_batches(update, tokens):
            batch = collate([tokens[i] for i in members], self.device)
            found = forward(self.model, batch, self.config.dtype)
            before = found.logprobs.detach() if old is None else torch.cat([old[i] for i in members])
            output = update.loss(TokenBatch(found.logprobs, found.entropies, before, batch.row_ids), members)
            output.loss.backward()  # type: ignore[no-untyped-call]
            done.loss += output.loss.item()
            done.tokens += len(batch.targets)
            done.metrics.update(output.metrics)
            demonstrations = torch.tensor([update.rows[i].index == DEMONSTRATION for i in members], device=self.device)
            nats = -found.logprobs.detach()[demonstrations[batch.row_ids]]
            done.demonstration_nats += nats.sum().item()
            done.demonstration_tokens += len(nats)
        return done

    def _one(
        self, update: Update, tokens: Sequence[Tokens], old: "dict[int, Tensor] | None", rate: float, step: int
    ) -> Updated:
        done = self.gradient(update, tokens, old)
        # Before the weights change: a loss may overflow where its gradient does not.
        self._require_finite("loss", done.loss, update, tokens, step)
        applied = apply_update(self.model, self.optimiser, self.config.optimiser, rate)
        self._require_finite("gradient norm", applied.norm, update, tokens, step)
        done.norm, done.skipped = applied.norm, applied.skipped
        if applied.skipped:
            logger.warning("step %d: update skipped, its gradient norm is %.3g", step, applied.norm)
        return done

    def _require_finite(self, what: str, value: float, update: Update, tokens: Sequence[Tokens], step: int) -> None:
        if math.isfinite(value):
            return
        path = self.dumps / f"step-{step:05d}.parquet"
        _dump(path, update, tokens)
        raise NonFiniteError(
            f"step {step}: the {what} is {value}; the batch is in {path}",
            "lower optimiser.learning_rate or optimiser.gradient_clip",
        )

    def _old_logprobs(self, update: Update, tokens: Sequence[Tokens]) -> "dict[int, Tensor]":
        """Row index -> [length] logprobs under the weights as they are now."""
        import torch

        old: dict[int, Tensor] = {}
        with torch.no_grad():
            for members in self._micro_batches(update, tokens):
                batch = collate([tokens[i] for i in members], self.device)
                logprobs = forward(self.model, batch, self.config.dtype).logprobs
                lengths = [len(tokens[i].response_ids) for i in members]
                old.update(zip(members, logprobs.split(lengths), strict=True))  # type: ignore[no-untyped-call]
        return old

    def _micro_batches(self, update: Update, tokens: Sequence[Tokens]) -> list[list[int]]:
        """Rows that need a forward pass, as indices into the update, by micro-batch."""
        active = update.active
        groups = split([tokens[i].length for i in active], self.config.micro_batch_tokens)
        return [[active[i] for i in group] for group in groups]


def _dump(path: Path, update: Update, tokens: Sequence[Tokens]) -> None:
    rows = [
        {
            "question_id": row.question_id,
            "index": row.index,
            "signals": [{"name": s.name, "coefficient": s.coefficient, "advantage": s.advantage} for s in row.signals],
            "prompt_ids": mine.prompt_ids,
            "response_ids": mine.response_ids,
        }
        for row, mine in zip(update.rows, tokens, strict=True)
    ]
    write_parquet(path, pa.Table.from_pylist(rows))
