"""Contracts of the parts an estimator is composed of; each variant derives from one of these.

Nothing a part returns carries a gradient, but for the likelihood gradient and the regularizer.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, NamedTuple

from hpt_core.plugins import PluginConfig
from hpt_core.upge.base import Group, TokenBatch

if TYPE_CHECKING:
    from torch import Tensor


class SignalTokens(NamedTuple):
    """The tokens of a micro-batch that carry one signal, rows laid end to end; T tokens of R whole rows."""

    logprobs: "Tensor"
    """[T] float; log pi_theta of each token, with gradient."""
    old_logprobs: "Tensor"
    """[T] float; the policy at rollout time; no gradient."""
    row_ids: "Tensor"
    """[T] int64, ascending; which of the R rows a token belongs to."""
    lengths: "Tensor"
    """[R] int64; tokens of each row, at least 1."""
    advantages: "Tensor"
    """[T] float; the advantage of the token's row as `Advantage.estimate` gives it; for the stabilization mask, of the
    token itself, as `Advantage.per_token` refines it."""
    entropies: "Tensor | None" = None
    """[T] float, nats, with gradient; detach it where it serves as a weight. Given where a part has
    `needs_entropies`."""
    old_values: "Tensor | None" = None
    """[T] float; the value head at rollout time, no gradient; given where a part has `needs_values`."""


class Advantages(NamedTuple):
    """Advantage of each member of a group."""

    rollouts: tuple[float, ...]
    demonstration: float


@dataclass(frozen=True, slots=True)
class SignalRows:
    """All rows of an update that carry one signal, wherever they are computed, and the update's own counts."""

    question_ids: tuple[str, ...]
    """Question of each row."""
    lengths: tuple[int, ...]
    """Response tokens of each row, at least 1."""
    questions: int
    """Q: distinct questions of the whole update, whatever signal they carry."""
    max_length: int
    """M: the constant length, in tokens."""


class BatchRows(NamedTuple):
    """The R rows of a micro-batch as a regularizer sees them, and the counts of the whole update."""

    rewards: "Tensor"
    """[R] float."""
    lengths: "Tensor"
    """[R] int64; tokens of each row, at least 1."""
    are_rollouts: "Tensor"
    """[R] bool; True for a rollout, False for a demonstration."""
    update_tokens: int
    """Tokens of the whole update."""
    update_rollout_tokens: int
    """Tokens of its rollouts."""


class StabilizationMask(PluginConfig, kind="stabilization_masks", package="hpt_core.upge.stabilization_mask"):
    """Which tokens are kept out of the gradient, to keep the update stable."""

    needs_old_logprobs: ClassVar[bool] = False
    """Whether it reads `old_logprobs`."""

    def factors(self, tokens: SignalTokens) -> "Tensor":
        """[T] float factor of each token: 1 keeps it, 0 stops its gradient, anything else scales it."""
        raise NotImplementedError


class ReferencePolicy(PluginConfig, kind="reference_policies", package="hpt_core.upge.reference_policy"):
    """The denominator of the estimator, pi_ref."""

    needs_old_logprobs: ClassVar[bool] = False
    """Whether it reads `old_logprobs`."""

    def ref_logprobs(self, tokens: SignalTokens) -> "Tensor":
        """[T] float; log pi_ref of each token."""
        raise NotImplementedError


class Advantage(PluginConfig, kind="advantages", package="hpt_core.upge.advantage"):
    """The advantage estimate A."""

    from_rewards_alone: ClassVar[bool] = True
    """Whether `per_token` leaves the group's estimate as it is, so that an estimate of 0 spares the forward pass."""
    needs_values: ClassVar[bool] = False
    """Whether it reads `old_values`."""
    needs_entropies: ClassVar[bool] = False
    """Whether it reads `entropies`."""

    def estimate(self, group: Group) -> Advantages:
        """A of each rollout and of the demonstration."""
        raise NotImplementedError

    def per_token(self, tokens: SignalTokens) -> "Tensor":
        """[T] float; refines the row's estimate by what only the forward pass tells (entropy, values)."""
        return tokens.advantages


class GroupAdvantage(Advantage):
    """An advantage that compares the members of a group."""

    with_demonstration: bool = False
    """The demonstration is one more member of the group (LUFFY, SRFT). Otherwise it stands alone, with
    nothing to be compared with, and its A is R."""

    def compare(self, rewards: tuple[float, ...]) -> tuple[float, ...]:
        """A of each member from the rewards of all; never called without members."""
        raise NotImplementedError

    def estimate(self, group: Group) -> Advantages:
        """A of each rollout and of the demonstration."""
        if self.with_demonstration and group.demonstration_length is not None:
            *rollouts, demonstration = self.compare((*group.rewards, group.demonstration_reward))
            return Advantages(tuple(rollouts), demonstration)
        return Advantages(self.compare(group.rewards) if group.rewards else (), group.demonstration_reward)


class LikelihoodGradient(PluginConfig, kind="likelihood_gradients", package="hpt_core.upge.likelihood_gradient"):
    """The function f whose gradient f(pi_theta) is followed."""

    def log_likelihoods(self, tokens: SignalTokens) -> "Tensor":
        """[T] float; log f(pi_theta), with gradient."""
        raise NotImplementedError


class Aggregation(PluginConfig, kind="aggregations", package="hpt_core.upge.aggregation"):
    """How token terms make one loss."""

    def weights(self, rows: SignalRows) -> tuple[float, ...]:
        """For each row, the weight of every one of its tokens; rows may be none."""
        raise NotImplementedError


class Regularizer(PluginConfig, kind="regularizers", package="hpt_core.upge.regularizers"):
    """A term on all tokens of the update, whatever signal they carry."""

    needs_values: ClassVar[bool] = False
    """Whether it reads `values`."""
    needs_entropies: ClassVar[bool] = False
    """Whether it reads `entropies`."""
    rollouts_only: ClassVar[bool] = False
    """Whether demonstrations add nothing to it, so that it spares them the forward pass."""

    coefficient: float
    """Factor of the term."""

    def share(self, tokens: TokenBatch, rows: BatchRows) -> "Tensor":
        """Scalar; this micro-batch's share of the term in the whole update, without coefficient.

        Its metric is "loss_NAME", coefficient included.
        """
        raise NotImplementedError
