"""Base classes of the estimator's parts.

Only the likelihood gradient and the regularizer return tensors with gradient.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, NamedTuple

from hpt_core.plugins import PluginConfig
from hpt_core.upge.base import Group, TokenBatch

if TYPE_CHECKING:
    from torch import Tensor


class SignalTokens(NamedTuple):
    """The tokens of a micro-batch that carry one signal: T tokens of R complete rows, concatenated."""

    logprobs: "Tensor"
    """[T] float; log pi_theta of each token, with gradient."""
    old_logprobs: "Tensor"
    """[T] float; log-probabilities under the policy at rollout time; no gradient."""
    row_ids: "Tensor"
    """[T] int64, ascending; the row (0..R-1) that each token belongs to."""
    lengths: "Tensor"
    """[R] int64; tokens of each row, at least 1."""
    advantages: "Tensor"
    """[T] float. `Advantage.per_token` receives the advantage of the token's row, from `Advantage.estimate`. The other
    parts receive the token's own advantage, from `Advantage.per_token`."""
    entropies: "Tensor | None" = None
    """[T] float, nats, with gradient; detach it before using it as a weight. Set if a part has `needs_entropies`."""
    old_values: "Tensor | None" = None
    """[T] float; the value head's output at rollout time, no gradient. Set if a part has `needs_values`."""


class Advantages(NamedTuple):
    """Advantage of each member of a group."""

    rollouts: tuple[float, ...]
    demonstration: float


@dataclass(frozen=True, slots=True)
class SignalRows:
    """All rows of an update that carry one signal, on all ranks, and counts of the whole update."""

    question_ids: tuple[str, ...]
    """Question of each row."""
    lengths: tuple[int, ...]
    """Response tokens of each row, at least 1."""
    questions: int
    """Q: number of distinct questions in the whole update, with or without this signal."""
    max_length: int
    """M: the constant length, in tokens."""
    update_tokens: int
    """Response tokens of the whole update, with or without this signal."""


class BatchRows(NamedTuple):
    """The R rows of a micro-batch, for regularizers, and token counts of the whole update."""

    rewards: "Tensor"
    """[R] float."""
    lengths: "Tensor"
    """[R] int64; tokens of each row, at least 1."""
    are_rollouts: "Tensor"
    """[R] bool; True for a rollout, False for a demonstration."""
    update_tokens: int
    """Number of tokens in the whole update."""
    update_rollout_tokens: int
    """Number of rollout tokens in the whole update."""


class StabilizationMask(PluginConfig, kind="stabilization_masks", package="hpt_core.upge.stabilization_mask"):
    """Masks tokens out of the gradient to keep the update stable."""

    needs_old_logprobs: ClassVar[bool] = False
    """Whether it reads `old_logprobs`."""

    @property
    def clips(self) -> bool:
        """Whether it bounds pi_theta / pi_old to 1 - eps_low .. 1 + eps_high, so that it changes nothing where both
        are equal."""
        return self.needs_old_logprobs and {"eps_low", "eps_high"} <= set(type(self).model_fields)

    def factors(self, tokens: SignalTokens) -> "Tensor":
        """[T] float; factor of each token: 1 keeps its gradient, 0 removes it, any other value scales it."""
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
    """Whether `per_token` returns the group's estimate unchanged. Then rows with an estimate of 0 need no forward pass.
    """
    needs_values: ClassVar[bool] = False
    """Whether it reads `old_values`."""
    needs_entropies: ClassVar[bool] = False
    """Whether it reads `entropies`."""

    def estimate(self, group: Group) -> Advantages:
        """A of each rollout and of the demonstration."""
        raise NotImplementedError

    def per_token(self, tokens: SignalTokens) -> "Tensor":
        """[T] float; refines the row's estimate with results of the forward pass (entropy, values)."""
        return tokens.advantages


class GroupAdvantage(Advantage):
    """An advantage that compares the members of a group."""

    with_demonstration: bool = False
    """Include the demonstration in the group (LUFFY, SRFT). Otherwise it is compared with nothing, and its A is R."""

    def compare(self, rewards: tuple[float, ...]) -> tuple[float, ...]:
        """A of each member, from the rewards of all members; there is at least one."""
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
    """How token terms are aggregated into one loss."""

    def weights(self, rows: SignalRows) -> tuple[float, ...]:
        """For each row, the weight of each of its tokens. There may be no rows."""
        raise NotImplementedError


class Regularizer(PluginConfig, kind="regularizers", package="hpt_core.upge.regularizers"):
    """A loss term on all tokens of the update, regardless of their signals."""

    needs_values: ClassVar[bool] = False
    """Whether it reads `values`."""
    needs_entropies: ClassVar[bool] = False
    """Whether it reads `entropies`."""
    rollouts_only: ClassVar[bool] = False
    """Whether the term ignores demonstrations, so that it requires no forward pass for them."""

    coefficient: float
    """Factor of the term."""

    def without_effect(self) -> Iterator[str]:
        """A term without weight."""
        if self.coefficient == 0:
            yield "coefficient is 0, so the term changes nothing; raise it, or remove the term"

    def share(self, tokens: TokenBatch, rows: BatchRows) -> "Tensor":
        """Scalar; this micro-batch's share of the whole update's term, without the coefficient.

        The metric "loss_NAME" includes the coefficient.
        """
        raise NotImplementedError
