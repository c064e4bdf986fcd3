"""A signal: the four parts and an aggregation, applied to a question's rollouts or to its demonstration."""

from typing import Literal

from pydantic import Field

from hpt_core.base import Frozen
from hpt_core.upge.parts import Advantage, Aggregation, LikelihoodGradient, ReferencePolicy, StabilizationMask


class Signal(Frozen):
    """A learning signal. Its loss is the sum over tokens of - weight * mask * stop_grad(A / pi_ref) * f(pi_theta)."""

    on: Literal["rollouts", "demonstration"]
    """Which responses of a question carry the signal."""
    stabilization_mask: StabilizationMask = Field(default="none", validate_default=True)
    """1_stable: the stabilization mask."""
    reference_policy: ReferencePolicy = Field(default="current", validate_default=True)
    """pi_ref: the reference policy."""
    advantage: Advantage = Field(default="one", validate_default=True)
    """A: the advantage."""
    likelihood_gradient: LikelihoodGradient = Field(default="plain", validate_default=True)
    """f: the function of the likelihood."""
    aggregation: Aggregation = Field(default="fixed_length", validate_default=True)
    """The weight of each token."""
    coefficient: float = 1.0
    """Factor of the whole signal, multiplied by the gate's coefficient."""
