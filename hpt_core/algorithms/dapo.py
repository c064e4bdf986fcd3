"""DAPO: GRPO with a higher upper clip bound and the same weight for every token of the update.

    L = - mean over the update's rollout tokens of min(r_it A_i, clip(r_it, 1 - eps_low, 1 + eps_high) A_i)
    r = pi_theta / pi_old, A_i = (R_i - mean R) / (std R + 1e-6), eps_low = 0.2, eps_high = 0.28

Yu 2025, equation 8: clip-higher and the token-level loss. DAPO's dynamic sampling and overlong reward shaping are not
included, because they concern the sampler and the reward, not the estimator.
"""

from pydantic import Field

from hpt_core.algorithms import grpo
from hpt_core.gates.base import Gate
from hpt_core.upge.algorithm import Algorithm
from hpt_core.upge.parts import Aggregation, StabilizationMask


class Rollouts(grpo.Rollouts):
    """Policy gradient on rollouts with a higher upper clip bound."""

    stabilization_mask: StabilizationMask = Field(
        default={"name": "clip", "eps_low": 0.2, "eps_high": 0.28}, validate_default=True
    )
    aggregation: Aggregation = Field(default="token_mean", validate_default=True)


class DAPO(Algorithm):
    """DAPO."""

    gate: Gate = Field(default="always", validate_default=True)
    rl: Rollouts = Rollouts()
    """The only signal."""
