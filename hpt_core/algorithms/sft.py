"""Supervised fine-tuning on the demonstrations.

    L = - sum over demonstration tokens of log pi_theta / (number of those tokens in the update)

The estimator with pi_ref = stop_grad(pi_theta), A = 1 and no mask (paper, table 1). Mean over tokens by default; per
demonstration with `sft = { aggregation = "sequence_mean" }`.
"""

from typing import Literal

from pydantic import Field

from hpt_core.algorithms.base import Algorithm, GateConfig
from hpt_core.upge.signal import AggregationConfig, Signal


class Demonstrations(Signal):
    """- log pi_theta on demonstrations."""

    on: Literal["rollouts", "demonstration"] = "demonstration"
    aggregation: AggregationConfig = Field(default="token_mean", validate_default=True)


class Config(Algorithm):
    """Supervised fine-tuning."""

    name: Literal["sft"] = "sft"
    gate: GateConfig = Field(default={"name": "always", "signals": ("sft",)}, validate_default=True)
    sft: Demonstrations = Demonstrations()
    """The only signal."""
