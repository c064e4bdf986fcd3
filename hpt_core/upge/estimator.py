"""The estimator: turns an algorithm's config into rows, token weights over a whole update, and a loss.

    loss = sum over signals and tokens of  - weight * mask * stop_grad(A / pi_ref) * f(pi_theta)   + regularizers

Its gradient is the paper's unified policy gradient (section 3); f(pi_theta) / pi_ref is computed in log space.
"""

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, NamedTuple

from hpt_core.errors import DataError, TrainingError
from hpt_core.upge.algorithm import Algorithm
from hpt_core.upge.base import DEMONSTRATION, Group, LossOutput, Row, RowSignal, TokenBatch
from hpt_core.upge.parts import BatchRows, SignalRows, SignalTokens
from hpt_core.upge.signal import Signal

if TYPE_CHECKING:
    from torch import Tensor


class Estimator:
    """The trainer's interface to an algorithm."""

    def __init__(self, config: Algorithm | str, max_length: int, importance_cap: float | None = None) -> None:
        """`config` is an algorithm, or the name of one for its defaults. `max_length` is M, the constant length of
        "fixed_length": the maximum number of response tokens.

        With `importance_cap`, every token of a signal on rollouts is weighted by min(pi_old / pi_rollout, cap), without
        gradient. This truncated importance correction is for engines whose policy differs slightly from the trainer's.
        """
        self.config = Algorithm.from_value(config)
        self.max_length = max_length
        self.importance_cap = importance_cap
        self.signals: Mapping[str, Signal] = {n: self.config.signals[n] for n in self.config.gate.signal_names}

    @property
    def uses_rollouts(self) -> bool:
        """Whether rollouts must be sampled."""
        return self.config.gate.needs_success_rate or any(s.on == "rollouts" for s in self.signals.values())

    @property
    def uses_demonstrations(self) -> bool:
        """Whether a question may be trained on its demonstration, so that every question needs one."""
        return any(s.on == "demonstration" for s in self.signals.values())

    @property
    def uses_old_logprobs(self) -> bool:
        """Whether `old_logprobs` is read."""
        parts = [p for s in self.signals.values() for p in (s.stabilization_mask, s.reference_policy)]
        return self.importance_cap is not None or any(p.needs_old_logprobs for p in parts)

    @property
    def uses_values(self) -> bool:
        """Whether `values` and `old_values` are read, so that the model needs a value head."""
        by_signals = any(s.advantage.needs_values for s in self.signals.values())
        return by_signals or any(r.needs_values for r in self.config.regularizers)

    @property
    def uses_entropies(self) -> bool:
        """Whether `entropies` is read."""
        by_signals = any(s.advantage.needs_entropies for s in self.signals.values())
        return by_signals or any(r.needs_entropies for r in self.config.regularizers)

    @property
    def reads(self) -> dict[str, str]:
        """Fields of TokenBatch that are read besides `logprobs` and `row_ids`, with the remedy if one is missing."""
        found = {}
        if self.uses_old_logprobs:
            found["old_logprobs"] = "give the log-probabilities of the policy at rollout time"
        if self.uses_entropies:
            found["entropies"] = "give the entropy of each token's distribution"
        if self.uses_values:
            found |= dict.fromkeys(("values", "old_values"), "train a model with a value head")
        if self.importance_cap is not None:
            found["rollout_logprobs"] = "give the engine's log-probabilities, or remove importance_cap"
        return found

    def rows(self, group: Group) -> list[Row]:
        """The question's responses that carry a signal: rollouts in sample order, then the demonstration.

        Raises DataError if the gate chooses a signal for which the group has no response.
        """
        self._check(group)
        gate = self.config.gate
        success_rate = group.success_rate if gate.needs_success_rate else None
        chosen = gate.coefficients(success_rate, group.demonstration_length is not None)
        carried: dict[int, list[RowSignal]] = {}
        for name, coefficient in chosen.items():
            if coefficient == 0:
                continue
            signal = self.signals[name]
            self._check_response(group, name, signal)
            advantages = signal.advantage.estimate(group)
            on_demonstration = signal.on == "demonstration"
            members = (
                [(DEMONSTRATION, advantages.demonstration)] if on_demonstration else enumerate(advantages.rollouts)
            )
            for index, advantage in members:
                carried.setdefault(index, []).append(RowSignal(name, coefficient * signal.coefficient, advantage))
        order = sorted(carried, key=lambda index: (index == DEMONSTRATION, index))
        return [Row(group.question_id, i, _length(group, i), tuple(carried[i]), _reward(group, i)) for i in order]

    def update(self, rows: Sequence[Row]) -> "Update":
        """One optimizer update over `rows`. Pass all rows of the update, including those that other ranks compute."""
        return Update(self, rows)

    def _check(self, group: Group) -> None:
        if len(group.rewards) != len(group.lengths):
            raise DataError(f"question {group.question_id}: {len(group.rewards)} rewards, {len(group.lengths)} lengths")
        if group.correct is not None and len(group.correct) != len(group.rewards):
            raise DataError(f"question {group.question_id}: {len(group.rewards)} rewards, {len(group.correct)} correct")
        if not all(math.isfinite(reward) for reward in (*group.rewards, group.demonstration_reward)):
            raise DataError(f"question {group.question_id}: a reward is not finite")
        if self.config.gate.needs_success_rate and not group.rewards:
            raise DataError(
                f"question {group.question_id} has no rollouts; gate {self.config.gate.name!r} needs its success rate",
                "set rollouts_per_question to 1 or more",
            )

    def _check_response(self, group: Group, name: str, signal: Signal) -> None:
        if signal.on == "demonstration" and group.demonstration_length is None:
            raise DataError(
                f"question {group.question_id} is gated to {name!r} but has no demonstration",
                'prepare the data with demonstrations = "required", or choose an algorithm without demonstrations',
            )
        if signal.on == "rollouts" and not group.rewards:
            raise DataError(
                f"question {group.question_id} is gated to {name!r} but has no rollouts",
                "set rollouts_per_question to 1 or more",
            )


class Update:
    """One optimizer update. Weights come from whole-update counts, so the split into micro-batches has no effect."""

    def __init__(self, estimator: Estimator, rows: Sequence[Row]) -> None:
        """Raises DataError if a row has no tokens."""
        for row in rows:
            if row.length < 1:
                raise DataError(f"question {row.question_id}: response {row.index} has no tokens", "drop the question")
        self.config = estimator.config
        self.importance_cap = estimator.importance_cap
        self.reads = estimator.reads
        self.signals = estimator.signals
        self.max_length = estimator.max_length
        self.rows = tuple(rows)
        self.questions = len({row.question_id for row in rows})
        """Q: distinct questions."""
        self.tokens = sum(row.length for row in rows)
        """Response tokens."""
        self.rollout_tokens = sum(row.length for row in rows if row.index != DEMONSTRATION)
        """Response tokens of rollouts."""
        self._terms = {name: self._signal_terms(name) for name in self.signals}

    @property
    def active(self) -> tuple[int, ...]:
        """Indices of the rows that need a forward pass. All others contribute exactly zero to the loss."""
        return tuple(
            i
            for i, row in enumerate(self.rows)
            if any(self._matters(s) for s in row.signals) or self._is_regularized(row)
        )

    def token_weight(self, signal: str) -> float:
        """Mean weight of a signal's tokens, without masks, advantages and ratios; NaN if none carries it."""
        terms = self._terms[signal]
        tokens = sum(self.rows[i].length for i in terms)
        return sum(w * self.rows[i].length for i, (w, _) in terms.items()) / tokens if tokens else math.nan

    def loss(self, tokens: TokenBatch, rows: Sequence[int]) -> LossOutput:
        """This micro-batch's share of the update's loss. The shares of disjoint micro-batches sum to the whole.

        `rows[r]` is the index, in the update, of the row whose tokens have row_ids == r. Pure. Raises TrainingError if
        the tokens do not match the rows' lengths.
        """
        import torch

        lengths = [self.rows[i].length for i in rows]
        self._check(tokens, sum(lengths))
        loss = tokens.logprobs[:0].sum()
        found = {
            "tokens": loss.new_tensor(sum(lengths), dtype=torch.float64),
        }
        if tokens.entropies is not None:
            found["entropy_sum"] = tokens.entropies.detach().sum()
        for name, signal in self.signals.items():
            terms = self._terms[name]
            share = _signal_share(signal, tokens, lengths, [terms.get(i) for i in rows], self.importance_cap)
            loss = loss + share.loss
            found |= {f"{metric}_{name}": value for metric, value in share.metrics.items()}
        for regularizer in self.config.regularizers:
            term = regularizer.coefficient * regularizer.share(tokens, self._batch_rows(tokens, rows))
            loss = loss + term
            found[f"loss_{regularizer.name}"] = term.detach()
        values = torch.stack([value.double() for value in found.values()]).tolist()
        return LossOutput(loss, dict(zip(found, values, strict=True)))

    def _signal_terms(self, name: str) -> dict[int, tuple[float, float]]:
        """Row index -> (weight per token, advantage), for the rows that carry signal `name`."""
        carriers = [(i, s) for i, row in enumerate(self.rows) for s in row.signals if s.name == name]
        weights = self.signals[name].aggregation.weights(
            SignalRows(
                question_ids=tuple(self.rows[i].question_id for i, _ in carriers),
                lengths=tuple(self.rows[i].length for i, _ in carriers),
                questions=self.questions,
                max_length=self.max_length,
                update_tokens=self.tokens,
            )
        )
        return {i: (w * s.coefficient, s.advantage) for (i, s), w in zip(carriers, weights, strict=True)}

    def _matters(self, signal: RowSignal) -> bool:
        settled = self.signals[signal.name].advantage.from_rewards_alone
        return signal.coefficient != 0 and not (settled and signal.advantage == 0)

    def _is_regularized(self, row: Row) -> bool:
        on_rollout = row.index != DEMONSTRATION
        return any(r.coefficient != 0 and (on_rollout or not r.rollouts_only) for r in self.config.regularizers)

    def _check(self, tokens: TokenBatch, expected: int) -> None:
        if tokens.logprobs.shape[0] != expected:
            raise TrainingError(f"got {tokens.logprobs.shape[0]} tokens for rows with {expected} tokens")
        for name, remedy in self.reads.items():
            if getattr(tokens, name) is None:
                raise TrainingError(f"algorithm {self.config.name!r} needs {name}, but none were given", remedy)

    def _batch_rows(self, tokens: TokenBatch, rows: Sequence[int]) -> BatchRows:
        import torch

        members = [self.rows[i] for i in rows]
        device = tokens.row_ids.device
        return BatchRows(
            rewards=tokens.logprobs.new_tensor([row.reward for row in members]),
            lengths=torch.tensor([row.length for row in members], dtype=torch.int64, device=device),
            are_rollouts=torch.tensor([row.index != DEMONSTRATION for row in members], dtype=torch.bool, device=device),
            update_tokens=self.tokens,
            update_rollout_tokens=self.rollout_tokens,
        )


def _length(group: Group, index: int) -> int:
    if index != DEMONSTRATION:
        return group.lengths[index]
    assert group.demonstration_length is not None
    return group.demonstration_length


def _reward(group: Group, index: int) -> float:
    return group.demonstration_reward if index == DEMONSTRATION else group.rewards[index]


class _Share(NamedTuple):
    loss: "Tensor"
    """Scalar, with gradient."""
    metrics: dict[str, "Tensor"]
    """Scalars, keyed by the metric's name without the signal's name."""


def _signal_share(
    signal: Signal,
    tokens: TokenBatch,
    lengths: Sequence[int],
    terms: Sequence[tuple[float, float] | None],
    importance_cap: float | None,
) -> _Share:
    """A signal's share of the loss in a micro-batch. `terms` holds (weight, advantage) or None for each row."""
    import torch

    device = tokens.row_ids.device
    # If old_logprobs is None, no part reads it.
    old_logprobs = tokens.logprobs if tokens.old_logprobs is None else tokens.old_logprobs
    carried = [r for r, term in enumerate(terms) if term is not None]
    present = [term for term in terms if term is not None]
    counts = torch.tensor([lengths[r] for r in carried], dtype=torch.int64, device=device)
    carries = torch.tensor([term is not None for term in terms], dtype=torch.bool, device=device)[tokens.row_ids]
    row_ids = torch.repeat_interleave(counts, output_size=sum(lengths[r] for r in carried))
    weights, advantages = tokens.logprobs.new_tensor(present).reshape(len(present), 2)[row_ids].unbind(1)
    selected = SignalTokens(
        logprobs=tokens.logprobs[carries],
        old_logprobs=old_logprobs[carries].detach(),
        row_ids=row_ids,
        lengths=counts,
        advantages=advantages,
        entropies=None if tokens.entropies is None else tokens.entropies[carries],
        old_values=None if tokens.old_values is None else tokens.old_values[carries].detach(),
    )
    selected = selected._replace(advantages=signal.advantage.per_token(selected).detach())
    mask = signal.stabilization_mask.factors(selected).detach()
    factors = weights * mask * selected.advantages
    metrics = {"tokens": carries.sum(), "clipped": (mask != 1).sum()}
    if importance_cap is not None and signal.on == "rollouts":
        assert tokens.rollout_logprobs is not None
        mismatch = selected.old_logprobs - tokens.rollout_logprobs[carries].detach()
        importance = mismatch.exp().clamp(max=importance_cap)
        factors = factors * importance
        metrics["importance"] = importance.sum()
    log_ratios = (
        signal.likelihood_gradient.log_likelihoods(selected) - signal.reference_policy.ref_logprobs(selected).detach()
    )
    # The ratio of a masked token may overflow, and 0 * inf would make the sum and its gradient NaN.
    ratios = log_ratios.masked_fill(factors == 0, 0.0).exp()
    loss = -(factors * ratios).sum()
    return _Share(loss, {"loss": loss.detach(), **metrics})
