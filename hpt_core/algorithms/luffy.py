"""LUFFY: the demonstration joins the rollouts' group and is trained on off-policy, with a shaped likelihood.

Write l_it for - min(r_it A_i, clip(r_it, 0.8, 1.2) A_i), p for pi_theta, Q for the update's questions and M for the
constant length. The group is the rollouts and the demonstration, whose R is 1. `form` is one of

    paper    L = [ sum_on sum_t l_it  +  sum_off sum_t - A p_t / (p_t + 0.1) ] / (Q * M),  A = (R - mean) / (std + 1e-6)
    script   L = (1/8M) [ sum_on sum_t - A_i r_it  +  sum_off sum_t - A p_t / (p_t + 0.1) ],  A = R - mean

Yan 2025; paper, table 1. The scripts use 7 rollouts per question, so the demonstration is the eighth group member, and
add an entropy bonus: `regularizers = [{ name = "entropy", micro_batches = {} }]`. The 8 is the number of GPUs, over
which the released code averages (hpt_core/upge/micro_batches.py).
"""

from typing import Any, Literal

from pydantic import Field, model_validator

from hpt_core.algorithms.dr_grpo import Rollouts
from hpt_core.base import merge
from hpt_core.gates.base import Gate
from hpt_core.upge.algorithm import Algorithm
from hpt_core.upge.parts import Advantage, LikelihoodGradient, ReferencePolicy
from hpt_core.upge.signal import Signal

RELEASED_SUM = {"name": "constant_length", "gpus": 8}
"""Aggregation of the RL losses in the released code, which averages the sums over 8 GPUs."""
JOINT_ZSCORE = {"name": "group_zscore", "with_demonstration": True}
JOINT_MEAN = {"name": "group_mean", "with_demonstration": True}
FORMS: dict[str, dict[str, dict[str, Any]]] = {
    "paper": {"rl": {"advantage": JOINT_ZSCORE}, "off": {"advantage": JOINT_ZSCORE}},
    "script": {
        "rl": {"advantage": JOINT_MEAN, "stabilization_mask": "none", "aggregation": RELEASED_SUM},
        "off": {"advantage": JOINT_MEAN, "aggregation": RELEASED_SUM},
    },
}
"""Form -> signal -> parts."""


class OffPolicy(Signal):
    """- A p / (p + 0.1) on demonstrations."""

    on: Literal["rollouts", "demonstration"] = "demonstration"
    reference_policy: ReferencePolicy = Field(default="one", validate_default=True)
    advantage: Advantage = Field(default="group_zscore", validate_default=True)
    likelihood_gradient: LikelihoodGradient = Field(default="shaped", validate_default=True)


class LUFFY(Algorithm):
    """LUFFY."""

    gate: Gate = Field(default={"name": "always", "signals": ("rl", "off")}, validate_default=True)
    form: Literal["paper", "script"] = "paper"
    """Sets the parts in which the paper and its scripts differ. Parts set in a signal override it."""
    rl: Rollouts = Field(default_factory=Rollouts)
    """The rollouts' signal."""
    off: OffPolicy = Field(default_factory=OffPolicy)
    """The demonstration's signal."""

    @model_validator(mode="before")
    @classmethod
    def _fill_form(cls, data: Any) -> Any:
        return merge(FORMS.get(str(data.get("form", "paper")), {}), data) if isinstance(data, dict) else data
