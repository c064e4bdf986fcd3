"""A signal: four parts and an aggregation, on the rollouts or on the demonstration of a question."""

from typing import TYPE_CHECKING, Literal

from pydantic import Field

from hpt_core.base import Frozen
from hpt_core.plugins import config_union

if TYPE_CHECKING:
    from hpt_core.upge import parts

    StabilizationMaskConfig = parts.StabilizationMask
    ReferencePolicyConfig = parts.ReferencePolicy
    AdvantageConfig = parts.Advantage
    LikelihoodGradientConfig = parts.LikelihoodGradient
    AggregationConfig = parts.Aggregation
    RegularizerConfig = parts.Regularizer
else:
    StabilizationMaskConfig = config_union("hpt_core.upge.stabilization_mask")
    ReferencePolicyConfig = config_union("hpt_core.upge.reference_policy")
    AdvantageConfig = config_union("hpt_core.upge.advantage")
    LikelihoodGradientConfig = config_union("hpt_core.upge.likelihood_gradient")
    AggregationConfig = config_union("hpt_core.upge.aggregation")
    RegularizerConfig = config_union("hpt_core.upge.regularizers")


class Signal(Frozen):
    """One learning signal; its loss is the sum over tokens of - weight * mask * stop_grad(A / pi_ref) * f(pi_theta)."""

    on: Literal["rollouts", "demonstration"]
    """Which responses of a question carry it."""
    stabilization_mask: StabilizationMaskConfig = Field(default="none", validate_default=True)
    """1_stable."""
    reference_policy: ReferencePolicyConfig = Field(default="current", validate_default=True)
    """pi_ref."""
    advantage: AdvantageConfig = Field(default="one", validate_default=True)
    """A."""
    likelihood_gradient: LikelihoodGradientConfig = Field(default="plain", validate_default=True)
    """f."""
    aggregation: AggregationConfig = Field(default="fixed_length", validate_default=True)
    """The weight of each token."""
    coefficient: float = Field(default=1.0, allow_inf_nan=False)
    """Factor of the whole signal, on top of the gate's."""
