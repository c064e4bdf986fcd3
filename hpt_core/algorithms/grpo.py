"""GRPO: clipped policy gradient with rewards as z-scores within each question's rollouts.

    L = - mean over sequences of (1/|tau_i|) sum_t min(r_it A_i, clip(r_it, 1 - eps, 1 + eps) A_i)
    r = pi_theta / pi_old, A_i = (R_i - mean R) / (std R + 1e-6), eps = 0.2

Shao 2024, equation 3 without the KL term; paper, table 1.
"""

from typing import Literal

from pydantic import Field

from hpt_core.gates.base import Gate
from hpt_core.upge.algorithm import Algorithm
from hpt_core.upge.parts import Advantage, Aggregation, ReferencePolicy, StabilizationMask
from hpt_core.upge.signal import Signal


class Rollouts(Signal):
    """Clipped policy gradient on rollouts."""

    on: Literal["rollouts", "demonstration"] = "rollouts"
    stabilization_mask: StabilizationMask = Field(default="clip", validate_default=True)
    reference_policy: ReferencePolicy = Field(default="old", validate_default=True)
    advantage: Advantage = Field(default="group_zscore", validate_default=True)
    aggregation: Aggregation = Field(default="sequence_mean", validate_default=True)


class GRPO(Algorithm):
    """GRPO."""

    gate: Gate = Field(default="always", validate_default=True)
    rl: Rollouts = Rollouts()
    """The only signal."""
