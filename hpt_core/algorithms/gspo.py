"""GSPO: one importance weight per sequence, the geometric mean of its tokens' ratios, clipped as a whole.

    L = - mean over sequences of min(s_i A_i, clip(s_i, 1 - eps_low, 1 + eps_high) A_i)
    s_i = (pi_theta(tau_i) / pi_old(tau_i))^(1/|tau_i|), A_i = (R_i - mean R) / (std R + 1e-6)
    eps_low = 3e-4, eps_high = 4e-4

Zheng 2025, equation 5. In the estimator, pi_ref = stop_grad(pi_theta) / s for each token. The aggregation supplies the
factor 1/|tau_i| that the paper's table 1 omits, so a token's coefficient is s A / |tau|.
"""

from pydantic import Field

from hpt_core.algorithms import grpo
from hpt_core.gates.base import Gate
from hpt_core.upge.algorithm import Algorithm
from hpt_core.upge.parts import ReferencePolicy, StabilizationMask


class Rollouts(grpo.Rollouts):
    """Policy gradient on rollouts with one importance weight per sequence."""

    stabilization_mask: StabilizationMask = Field(default="sequence_clip", validate_default=True)
    reference_policy: ReferencePolicy = Field(default="sequence", validate_default=True)


class GSPO(Algorithm):
    """GSPO."""

    gate: Gate = Field(default="always", validate_default=True)
    rl: Rollouts = Rollouts()
    """The only signal."""
