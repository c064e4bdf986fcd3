"""One optimizer update: loss over micro-batches, checks, optimizer step. The loss itself is the estimator's."""

import contextlib
import logging
import math
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from hpt_core.errors import NonFiniteError, TrainingError
from hpt_core.training.batch import MicroBatch, Tokens, collate, split
from hpt_core.training.config import TrainConfig
from hpt_core.training.distributed import World
from hpt_core.training.logprobs import TokenStatistics
from hpt_core.training.optimizer import apply_update, zero_gradients
from hpt_core.training.policy import forward
from hpt_core.training.sync import Agreement, Differences, check, measure
from hpt_core.training.updated import Updated, dump
from hpt_core.upge.base import DEMONSTRATION, Row, TokenBatch
from hpt_core.upge.estimator import Estimator, Update

if TYPE_CHECKING:
    from torch import Tensor, nn
    from torch.optim import Optimizer

logger = logging.getLogger("hpt.training.update")


class Before(NamedTuple):
    """Log-probabilities and values of a row's tokens under the policy at rollout time; [length] each."""

    logprobs: "Tensor"
    values: "Tensor | None"


class Updater:
    """Applies updates to one policy."""

    def __init__(
        self,
        policy: "nn.Module",
        optimizer: "Optimizer",
        estimator: Estimator,
        config: TrainConfig,
        dumps: Path,
        world: World | None = None,
    ) -> None:
        """`dumps` is the folder that receives the batch of a non-finite update."""
        self.policy = policy
        self.optimizer = optimizer
        self.estimator = estimator
        self.config = config
        self.dumps = dumps
        self.world = world or World()
        self.agreement: Agreement | None = None
        """Agreement of engine and policy at the last step; None if nothing was sampled."""
        self.packed = config.packing and bool(policy.packs)
        self.device = next(policy.parameters()).device

    def run(
        self, rows: Sequence[Row], tokens: Sequence[Tokens], rate: float, step: int, probes: Sequence[Tokens] = ()
    ) -> list[Updated]:
        """Train on a step's `rows` (`tokens[i]` belong to `rows[i]`) in updates of `minibatch_rows`.

        Before any weight changes, engine and policy are compared on the training rollouts, or on `probes` if there are
        none. With several ranks, every rank gets all rows. Raises WeightSyncError, or NonFiniteError after writing the
        batch to disk; in both cases the failing update has not changed the weights.
        """
        size = self.config.minibatch_rows or max(1, len(rows))
        parts = [range(i, min(i + size, len(rows))) for i in range(0, len(rows), size)]
        updates = [self.estimator.update([rows[i] for i in part]) for part in parts]
        tokens_of = [[tokens[i] for i in part] for part in parts]
        before: list[dict[int, Before] | None] = [None] * len(parts)
        remembers = len(parts) > 1 and (self.estimator.uses_old_logprobs or self.estimator.uses_values)
        self.agreement = None
        with self._memory_errors(step):
            if not any(_trains_on_rollouts(update) for update in (updates if remembers else updates[:1])):
                # All ranks use the same probes.
                self._require_agreement(measure(self.policy, probes, self.config.micro_batch_tokens, self.packed), step)
            if remembers:
                differences = Differences()
                before = [self._before(u, t, differences) for u, t in zip(updates, tokens_of, strict=True)]
                self._require_agreement(self._over_ranks(differences), step)
            found = []
            for i, (update, mine, then) in enumerate(zip(updates, tokens_of, before, strict=True)):
                found.append(self._one(update, mine, then, rate, step, weights_are_old=i == 0 and not remembers))
            return found

    def gradient(self, update: Update, tokens: Sequence[Tokens], before: "dict[int, Before] | None" = None) -> Updated:
        """Accumulate the gradient of the whole update, micro-batch by micro-batch, over all ranks.

        `before` holds the policy at rollout time for each row that this rank computes; None if it equals the current
        policy.
        """
        zero_gradients(self.optimizer)
        done = Updated()
        for members in self._micro_batches(update, tokens):
            if members is None:
                self._dummy_pass(tokens)
                continue
            batch = self._collate([tokens[i] for i in members])
            found = forward(self.policy, batch)
            output = update.loss(self._token_batch(found, batch, members, tokens, before), members)
            loss = output.loss
            if found.values is not None:
                # FSDP2 needs a gradient of the value head on every rank, even if the loss does not use it.
                loss = loss + 0.0 * found.values.sum()
            # FSDP2 averages gradients over ranks, but the shares of the loss must be summed.
            (loss * self.world.size).backward()  # type: ignore[no-untyped-call]
            self._note(done, output.loss, output.metrics, found, batch, [update.rows[i] for i in members])
            if before is None:
                self._compare(done.differences, found, [tokens[i] for i in members])
        if self.world.size > 1:
            mine, done = done, Updated()
            for (theirs,) in self.world.all_gather([mine]):
                done.add(theirs)
        return done

    def _token_batch(
        self,
        found: TokenStatistics,
        batch: MicroBatch,
        members: list[int],
        tokens: Sequence[Tokens],
        before: "dict[int, Before] | None",
    ) -> TokenBatch:
        import torch

        old_logprobs = found.logprobs.detach()
        old_values = None if found.values is None else found.values.detach()
        if before is not None:
            old_logprobs = torch.cat([before[i].logprobs for i in members])
            if old_values is not None:
                old_values = torch.cat([v for i in members if (v := before[i].values) is not None])
        rollout_logprobs = None
        if self.config.importance_cap is not None:
            parts = old_logprobs.split([len(tokens[i].response_ids) for i in members])  # type: ignore[no-untyped-call]
            rollout_logprobs = torch.cat(
                [
                    old if (engine := tokens[i].rollout_logprobs) is None else old.new_tensor(engine)
                    for i, old in zip(members, parts, strict=True)
                ]
            )
        return TokenBatch(
            found.logprobs, batch.row_ids, old_logprobs, found.entropies, found.values, old_values, rollout_logprobs
        )

    def _note(
        self,
        done: Updated,
        loss: "Tensor",
        metrics: dict[str, float],
        found: TokenStatistics,
        batch: MicroBatch,
        rows: list[Row],
    ) -> None:
        import torch

        done.loss += loss.item()
        done.tokens += len(batch.targets)
        done.metrics.update(metrics)
        demonstrations = torch.tensor([row.index == DEMONSTRATION for row in rows], device=self.device)
        nats = -found.logprobs.detach()[demonstrations[batch.row_ids]]
        done.demonstration_nats += nats.sum().item()
        done.demonstration_tokens += len(nats)

    def _collate(self, rows: list[Tokens]) -> MicroBatch:
        return collate(rows, self.device, self.packed)

    def _dummy_pass(self, tokens: Sequence[Tokens]) -> None:
        """Run the shortest row with zero gradient, because the other ranks' collectives wait for this rank."""
        import torch

        shortest = min(tokens, key=lambda row: row.length)
        found = forward(self.policy, self._collate([shortest]))
        if torch.is_grad_enabled():
            total = found.logprobs.sum() if found.values is None else found.logprobs.sum() + found.values.sum()
            (0.0 * total).backward()  # type: ignore[no-untyped-call]

    def _compare(self, differences: Differences, found: TokenStatistics, rows: list[Tokens]) -> None:
        logprobs = found.logprobs.split([len(row.response_ids) for row in rows])  # type: ignore[no-untyped-call]
        differences.compare(logprobs, rows)

    def _over_ranks(self, mine: Differences) -> Differences:
        found = Differences()
        for (theirs,) in self.world.all_gather([mine]):
            found.add(theirs)
        return found

    def _require_agreement(self, differences: Differences, step: int) -> None:
        agreement = differences.agreement
        if agreement is not None:
            self.agreement = agreement
            check(agreement, self.config.dtype, f"step {step}")

    def _one(
        self,
        update: Update,
        tokens: Sequence[Tokens],
        before: "dict[int, Before] | None",
        rate: float,
        step: int,
        weights_are_old: bool,
    ) -> Updated:
        done = self.gradient(update, tokens, before)
        if weights_are_old:
            self._require_agreement(done.differences, step)
        # Checked before the weights change. A loss may overflow even if its gradient does not.
        self._require_finite("loss", done.loss, update, tokens, step)
        applied = apply_update(self.optimizer, self.config.optimizer, rate)
        self._require_finite("gradient norm", applied.norm, update, tokens, step)
        done.norm, done.skipped = applied.norm, applied.skipped
        if applied.skipped:
            logger.warning("step %d: update skipped, its gradient norm is %.3g", step, applied.norm)
        return done

    def _require_finite(self, what: str, value: float, update: Update, tokens: Sequence[Tokens], step: int) -> None:
        if math.isfinite(value):
            return
        path = self.dumps / f"step-{step:05d}.parquet"
        if self.world.is_main:
            dump(path, update, tokens)
        self.world.barrier()
        raise NonFiniteError(
            f"step {step}: the {what} is {value}; the batch is in {path}",
            "lower optimizer.learning_rate or optimizer.gradient_clip",
        )

    def _before(self, update: Update, tokens: Sequence[Tokens], differences: Differences) -> dict[int, Before]:
        """Run this rank's rows with the current weights. Returns the results by index in the update.

        The comparison with the engine is added to `differences`.
        """
        import torch

        found: dict[int, Before] = {}
        with torch.no_grad():
            for members in self._micro_batches(update, tokens):
                if members is None:
                    self._dummy_pass(tokens)
                    continue
                now = forward(self.policy, self._collate([tokens[i] for i in members]))
                self._compare(differences, now, [tokens[i] for i in members])
                lengths = [len(tokens[i].response_ids) for i in members]
                logprobs = now.logprobs.split(lengths)  # type: ignore[no-untyped-call]
                values = [None] * len(members) if now.values is None else now.values.split(lengths)  # type: ignore[no-untyped-call]
                found.update(zip(members, map(Before, logprobs, values), strict=True))
        return found

    def _micro_batches(self, update: Update, tokens: Sequence[Tokens]) -> list[list[int] | None]:
        """This rank's micro-batches of the rows that need a forward pass, as indices into the update."""
        active = update.active
        rows = [tokens[i] for i in active]
        # Use a smaller budget if the configured one would leave a rank without a micro-batch.
        share = -(-sum(row.length for row in rows) // self.world.size)
        groups = split(rows, min(self.config.micro_batch_tokens, max(share, 1)), self.packed)
        return self.world.mine([[active[i] for i in group] for group in groups])

    @contextlib.contextmanager
    def _memory_errors(self, step: int) -> Iterator[None]:
        """If memory runs out, raise an error that names the setting to lower."""
        import torch

        try:
            yield
        except RuntimeError as error:
            if not isinstance(error, torch.OutOfMemoryError) and "can't allocate memory" not in str(error):
                raise
            saving = "" if self.config.gradient_checkpointing else ", or set gradient_checkpointing = true"
            raise TrainingError(
                f"step {step}: out of memory in the forward or backward pass",
                f"lower micro_batch_tokens (now {self.config.micro_batch_tokens}){saving}",
            ) from error


def _trains_on_rollouts(update: Update) -> bool:
    return any(update.rows[i].index != DEMONSTRATION for i in update.active)
