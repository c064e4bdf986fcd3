"""Dr. GRPO: GRPO without its two biases, division by the standard deviation and by each sequence's length.

    L = - sum_i sum_t min(r_it A_i, clip(r_it, 1 - eps, 1 + eps) A_i) / (Q * M)
    r = pi_theta / pi_old, A_i = R_i - mean R, eps = 0.2, M the constant length, Q the update's questions

Paper, table 1 ("sum / constant length"). The scripts do not clip: `rl = { stabilization_mask = "none" }`.
"""

from pydantic import Field

from hpt_core.algorithms import grpo
from hpt_core.gates.base import Gate
from hpt_core.upge.algorithm import Algorithm
from hpt_core.upge.parts import Advantage, Aggregation


class Rollouts(grpo.Rollouts):
    """Clipped policy gradient on rollouts, unnormalized."""

    advantage: Advantage = Field(default="group_mean", validate_default=True)
    aggregation: Aggregation = Field(default="fixed_length", validate_default=True)


class DrGRPO(Algorithm):
    """Dr. GRPO."""

    gate: Gate = Field(default="always", validate_default=True)
    rl: Rollouts = Rollouts()
    """The only signal."""
