"""Hybrid Post-Training: each question trains on its rollouts or, if they fail, on its demonstration.

Paper, algorithm 1: P is the share of a question's n rollouts that are correct; P > gamma gives the RL signal (Dr. GRPO:
r = pi_theta / pi_old, A_i = R_i - mean R, clip 0.2), P <= gamma the SFT signal with coefficient c. Write l_it for
- min(r_it A_i, clip(r_it, 0.8, 1.2) A_i), p for pi_theta, Q for the update's questions and M for the constant length;
`normalization` is one of

    fixed_length   L = [ sum_RL sum_t l_it  +  c * sum_SFT sum_t - log p_t ] / (Q * M)
    paper          L = (1/Q) [ sum_RL (1/n) sum_t l_it  +  c * sum_SFT (1/|tau*|) sum_t - log p_t ]
    script         L = (1/8M) sum_RL sum_t l_it  +  c (K/8) * mean over the update's SFT tokens of - log p_t

"script" is the released code's loss on 8 GPUs. There, the losses of micro-batches add up, so that K, the number of
micro-batches with a demonstration, weights SFT against RL (hpt_core/upge/micro_batches.py). That code does not clip
(`stabilization_mask = "none"` in `rl`), and adds an entropy bonus (`{ name = "entropy", micro_batches = {} }` in
`regularizers`).

A third signal, `off`, is for ablations of the offline part. It is LUFFY's off-policy RL on the demonstration,
- A p / (p + 0.1), with A = R = 1 (a group of one) and the RL signal's normalization. Gate "switch" chooses it with
`otherwise = "off"`, or `["sft", "off"]` for both; gate "gate_off" also chooses it. Gate "soft" mixes signals instead
of switching.
"""

from typing import Any, Literal

from pydantic import Field, model_validator

from hpt_core.algorithms.dr_grpo import Rollouts
from hpt_core.algorithms.luffy import RELEASED_SUM, OffPolicy
from hpt_core.algorithms.sft import Demonstrations
from hpt_core.base import merge
from hpt_core.gates.base import Gate
from hpt_core.upge.algorithm import Algorithm

AGGREGATIONS: dict[str, dict[str, Any]] = {
    "fixed_length": {"rl": "fixed_length", "sft": "fixed_length", "off": "fixed_length"},
    "paper": {"rl": "question_mean", "sft": "demonstration_mean", "off": "question_mean"},
    "script": {"rl": RELEASED_SUM, "sft": "micro_batch_mean", "off": RELEASED_SUM},
}
"""Normalization -> signal -> aggregation."""


class HPT(Algorithm):
    """Hybrid Post-Training."""

    gate: Gate = Field(default="switch", validate_default=True)
    normalization: Literal["fixed_length", "paper", "script"] = "fixed_length"
    """Sets the aggregation of all signals. A signal's own `aggregation` overrides it."""
    sft_coefficient: float = Field(default=1.0, ge=0, allow_inf_nan=False)
    """c (scripts: 1.0; 0.3 for Qwen2.5-Math-1.5B)."""
    rl: Rollouts = Field(default_factory=Rollouts)
    """The signal of questions with P > gamma."""
    sft: Demonstrations = Field(default_factory=Demonstrations)
    """The signal of questions with P <= gamma; its coefficient is `sft_coefficient`."""
    off: OffPolicy = Field(default_factory=OffPolicy)
    """Off-policy RL on the demonstration; used only if the gate names it."""

    @model_validator(mode="before")
    @classmethod
    def _fill_signals(cls, data: Any) -> Any:
        if not isinstance(data, dict):
            return data
        chosen = AGGREGATIONS.get(str(data.get("normalization", "fixed_length")), {})
        parts: dict[str, dict[str, Any]] = {name: {"aggregation": aggregation} for name, aggregation in chosen.items()}
        return merge(merge(parts, {"sft": {"coefficient": data.get("sft_coefficient", 1.0)}}), data)

    @model_validator(mode="after")
    def _one_coefficient(self) -> "HPT":
        if self.sft.coefficient != self.sft_coefficient:
            raise ValueError(
                f"sft.coefficient is {self.sft.coefficient} and sft_coefficient is {self.sft_coefficient}; "
                "set only sft_coefficient"
            )
        return self
