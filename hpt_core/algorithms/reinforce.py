"""REINFORCE: the policy gradient on rollouts with advantage 1 for a correct response and -1 for an incorrect one.

    L = - mean over the update's rollout tokens of (2 R_i - 1) log pi_theta

The estimator with pi_ref = stop_grad(pi_theta), A = 2R - 1 and no mask (Ahmadian 2024; paper, table 1).
"""

from typing import Literal

from pydantic import Field

from hpt_core.gates.base import Gate
from hpt_core.upge.algorithm import Algorithm
from hpt_core.upge.parts import Advantage, Aggregation
from hpt_core.upge.signal import Signal


class Rollouts(Signal):
    """- (2R - 1) log pi_theta on rollouts."""

    on: Literal["rollouts", "demonstration"] = "rollouts"
    advantage: Advantage = Field(default="signed", validate_default=True)
    aggregation: Aggregation = Field(default="token_mean", validate_default=True)


class REINFORCE(Algorithm):
    """REINFORCE."""

    gate: Gate = Field(default="always", validate_default=True)
    rl: Rollouts = Rollouts()
    """The only signal."""
