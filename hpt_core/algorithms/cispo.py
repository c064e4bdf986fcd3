"""CISPO: clips the importance weight instead of the token, so that every token keeps its gradient.

    L = - mean over the update's rollout tokens of stop_grad(clip(r_it, 1 - eps_low, 1 + eps_high)) A_i log pi_theta
    r = pi_theta / pi_old, A_i = (R_i - mean R) / (std R + 1e-6), eps_low = 1 (no lower bound), eps_high = 0.2

Chen 2025 (MiniMax-M1), equation 4; paper, table 1. In the estimator, pi_ref = pi_old and the mask is clip(r) / r.
"""

from pydantic import Field

from hpt_core.algorithms import grpo
from hpt_core.gates.base import Gate
from hpt_core.upge.algorithm import Algorithm
from hpt_core.upge.parts import Aggregation, StabilizationMask


class Rollouts(grpo.Rollouts):
    """Policy gradient on rollouts with a clipped importance weight."""

    stabilization_mask: StabilizationMask = Field(default="clipped_ratio", validate_default=True)
    aggregation: Aggregation = Field(default="token_mean", validate_default=True)


class CISPO(Algorithm):
    """CISPO."""

    gate: Gate = Field(default="always", validate_default=True)
    rl: Rollouts = Rollouts()
    """The only signal."""
