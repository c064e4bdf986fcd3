"""The data types that trainer and estimator exchange."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

from hpt_core.errors import DataError

if TYPE_CHECKING:
    from torch import Tensor

DEMONSTRATION = -1
"""Index of the demonstration within a group; rollouts count from 0."""


@dataclass(frozen=True, slots=True)
class Group:
    """Rewards and lengths of one question's responses, for the gate and the advantages."""

    question_id: str
    rewards: tuple[float, ...]
    """Reward of each rollout, in sample order; empty without rollouts."""
    lengths: tuple[int, ...]
    """Response tokens of each rollout."""
    demonstration_length: int | None
    """Response tokens of the demonstration with its EOS; None if the question has no demonstration."""
    correct: tuple[bool, ...] | None = None
    """Whether each rollout is correct. None derives it from the rewards: 1 is correct, 0 is not."""
    demonstration_reward: float = 1.0
    """R of the demonstration. 1 is the reward of a correct response without further reward parts."""

    @property
    def successes(self) -> tuple[bool, ...]:
        """Whether each rollout is correct. Raises DataError if it cannot be derived from the rewards."""
        if self.correct is not None:
            return self.correct
        if any(reward not in (0.0, 1.0) for reward in self.rewards):
            raise DataError(
                f"question {self.question_id}: rewards other than 0 and 1 do not tell which rollouts are correct",
                "set Group.correct",
            )
        return tuple(reward == 1.0 for reward in self.rewards)

    @property
    def success_rate(self) -> float | None:
        """P: the share of correct rollouts; None without rollouts."""
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
    """One response that an update trains on, with its signals."""

    question_id: str
    index: int
    """Sample index of the rollout, or DEMONSTRATION."""
    length: int
    """Response tokens."""
    signals: tuple[RowSignal, ...]
    reward: float
    """R of the response."""


class TokenBatch(NamedTuple):
    """Response tokens of a micro-batch: T tokens of R rows, concatenated.

    `logprobs` and `row_ids` are always read. `Estimator.reads` lists the other fields that the algorithm needs.
    """

    logprobs: "Tensor"
    """[T] float; log pi_theta of each token, with gradient."""
    row_ids: "Tensor"
    """[T] int64, ascending; the row of the micro-batch (0..R-1) that each token belongs to. Rows are complete."""
    old_logprobs: "Tensor | None" = None
    """[T] float; log-probabilities under the policy at rollout time, from the trainer's own forward pass; no gradient.
    """
    entropies: "Tensor | None" = None
    """[T] float; entropy of the distribution each token was sampled from, in nats, with gradient."""
    values: "Tensor | None" = None
    """[T] float; the value head's output before each token, with gradient."""
    old_values: "Tensor | None" = None
    """[T] float; the value head's output at rollout time; no gradient."""
    rollout_logprobs: "Tensor | None" = None
    """[T] float; the engine's log-probabilities, or `old_logprobs` for demonstrations; no gradient. Read if the
    estimator has an `importance_cap`."""

    @classmethod
    def from_padded(cls, mask: "Tensor", logprobs: "Tensor", **others: "Tensor") -> "TokenBatch":
        """Convert a padded batch. `mask` [R, T] bool is True for response tokens. `logprobs` and `others`, keyed by
        field name, are [R, T] float."""
        row_ids = mask.nonzero()[:, 0]
        return cls(logprobs[mask], row_ids, **{name: tensor[mask] for name, tensor in others.items()})


class LossOutput(NamedTuple):
    """A micro-batch's share of an update's loss. The shares of all micro-batches sum to the update's loss."""

    loss: "Tensor"
    """Scalar."""
    metrics: dict[str, float]
    """Additive over micro-batches: "loss_<signal>", "tokens_<signal>", "clipped_<signal>" (tokens whose mask is not 1),
    "importance_<signal>" (sum of the truncated importance weights, if they are used), "loss_<regularizer>",
    "entropy_sum" (nats), "tokens"."""
