"""What passes between the trainer, which knows no algorithm, and the estimator, which knows no engine."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

from hpt_core.errors import DataError

if TYPE_CHECKING:
    from torch import Tensor

DEMONSTRATION = -1
"""Index of the demonstration within a group; rollouts count from 0."""


@dataclass(frozen=True, slots=True)
class Group:
    """One question's responses as the gate and the advantages see them."""

    question_id: str
    rewards: tuple[float, ...]
    """Reward of each rollout, in sample order; empty where there is none."""
    lengths: tuple[int, ...]
    """Response tokens of each rollout."""
    demonstration_length: int | None
    """Response tokens of the demonstration with its EOS; None where the question has none."""
    correct: tuple[bool, ...] | None = None
    """Whether each rollout is correct. None where the rewards say it: 1 for a correct one, 0 for any other."""
    demonstration_reward: float = 1.0
    """R of the demonstration; 1 is that of a correct response without further rewards."""

    @property
    def successes(self) -> tuple[bool, ...]:
        """Whether each rollout is correct. Raises DataError where that cannot be told."""
        if self.correct is not None:
            return self.correct
        if any(reward not in (0.0, 1.0) for reward in self.rewards):
            raise DataError(
                f"question {self.question_id}: rewards other than 0 and 1 do not say which rollouts are correct",
                "give Group.correct",
            )
        return tuple(reward == 1.0 for reward in self.rewards)

    @property
    def success_rate(self) -> float | None:
        """P: share of the rollouts that are correct; None where there is none."""
        return sum(self.successes) / len(self.successes) if self.rewards else None


@dataclass(frozen=True, slots=True)
class RowSignal:
    """One signal on one row."""

    name: str
    """The signal's name in the algorithm ("rl", "sft")."""
    coefficient: float
    """Gate coefficient (alpha or beta) times the signal's own coefficient."""
    advantage: float


@dataclass(frozen=True, slots=True)
class Row:
    """One response that an update trains on, with the signals it carries."""

    question_id: str
    index: int
    """Sample index of the rollout, or DEMONSTRATION."""
    length: int
    """Response tokens."""
    signals: tuple[RowSignal, ...]
    reward: float
    """R of the response."""


class TokenBatch(NamedTuple):
    """Response tokens of a micro-batch, rows laid end to end; T tokens of R rows.

    Only `logprobs` and `row_ids` are always read; the estimator's `uses_...` say which of the others.
    """

    logprobs: "Tensor"
    """[T] float; log pi_theta of each token, with gradient."""
    row_ids: "Tensor"
    """[T] int64, ascending; which row of the micro-batch (0..R-1) a token belongs to. A row is whole or absent."""
    old_logprobs: "Tensor | None" = None
    """[T] float; the policy at rollout time, from the trainer's own forward pass; no gradient."""
    entropies: "Tensor | None" = None
    """[T] float; entropy of the distribution each token was sampled from, in nats, with gradient."""
    values: "Tensor | None" = None
    """[T] float; the value head's output before each token, with gradient."""
    old_values: "Tensor | None" = None
    """[T] float; the same at rollout time; no gradient."""
    rollout_logprobs: "Tensor | None" = None
    """[T] float; the engine's log-probabilities, for demonstrations equal to `old_logprobs`; no gradient. Read where
    the estimator has an `importance_cap`."""

    @classmethod
    def from_padded(cls, mask: "Tensor", logprobs: "Tensor", **others: "Tensor") -> "TokenBatch":
        """The tokens of a padded batch. `mask` [R, T] bool is True for response tokens, one row of it for each row of
        the micro-batch; `logprobs` and `others`, by their names here, are [R, T] float."""
        row_ids = mask.nonzero()[:, 0]
        return cls(logprobs[mask], row_ids, **{name: tensor[mask] for name, tensor in others.items()})


class LossOutput(NamedTuple):
    """A micro-batch's share of an update's loss: shares add up to the loss of the whole update."""

    loss: "Tensor"
    """Scalar."""
    metrics: dict[str, float]
    """Additive over micro-batches: "loss_<signal>", "tokens_<signal>", "clipped_<signal>" (tokens whose mask is not 1),
    "importance_<signal>" (sum of the truncated importance weights, where they are used), "loss_<regularizer>",
    "entropy_sum" (nats), "tokens"."""
