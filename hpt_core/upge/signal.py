"""A signal: four parts and an aggregation, on the rollouts or on the demonstration of a question."""

from typing import Literal

from pydantic import Field

from hpt_core.base import Frozen
from hpt_core.upge.parts import Advantage, Aggregation, LikelihoodGradient, ReferencePolicy, StabilizationMask


class Signal(Frozen):
    """One learning signal; its loss is the sum over tokens of - weight * mask * stop_grad(A / pi_ref) * f(pi_theta)."""

    on: Literal["rollouts", "demonstration"]
    """Which responses of a question carry it."""
    stabilization_mask: StabilizationMask = Field(default="none", validate_default=True)
    """1_stable."""
    reference_policy: ReferencePolicy = Field(default="current", validate_default=True)
    """pi_ref."""
    advantage: Advantage = Field(default="one", validate_default=True)
    """A."""
    likelihood_gradient: LikelihoodGradient = Field(default="plain", validate_default=True)
    """f."""
    aggregation: Aggregation = Field(default="fixed_length", validate_default=True)
    """The weight of each token."""
    coefficient: float = Field(default=1.0, allow_inf_nan=False)
    """Factor of the whole signal, on top of the gate's."""
