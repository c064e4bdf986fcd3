"""Supervised fine-tuning on the demonstrations.

    L = - sum over demonstration tokens of log pi_theta / (number of those tokens in the update)

The estimator with pi_ref = stop_grad(pi_theta), A = 1 and no mask (paper, table 1). The default is a mean over tokens;
`sft = { aggregation = "sequence_mean" }` first takes the mean of each demonstration.
"""

from typing import Literal

from pydantic import Field

from hpt_core.gates.base import Gate
from hpt_core.upge.algorithm import Algorithm
from hpt_core.upge.parts import Aggregation
from hpt_core.upge.signal import Signal


class Demonstrations(Signal):
    """- log pi_theta on demonstrations."""

    on: Literal["rollouts", "demonstration"] = "demonstration"
    aggregation: Aggregation = Field(default="token_mean", validate_default=True)


class SFT(Algorithm):
    """Supervised fine-tuning."""

    gate: Gate = Field(default={"name": "always", "signals": ("sft",)}, validate_default=True)
    sft: Demonstrations = Demonstrations()
    """The only signal."""
