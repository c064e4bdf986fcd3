"""SRFT: supervised and reinforcement terms together, weighted by the policy's entropy.

Write p for pi_theta, h_i for the detached mean entropy of sequence i, w_i for 0.1 e^(h_i) if R = 1 and -1 otherwise, Q
for the update's questions and M for the constant length. The group is the rollouts and the demonstration, whose R is 1.
`form` is one of

    paper    L = [ sum_off sum_t (- 0.5 e^(-h_i) log p_t - A p_t)  +  sum_on sum_t - w_i log p_t ] / (Q * M)
             A = (R - mean) / (std + 1e-6)
    script   L = (K/8) mean over the update's demonstration tokens of - 0.5 e^(-h_i) log p_t
                 + (1/8M) [ sum_off sum_t - A p_t / (p_t + 0.1)  +  sum_on sum_t - w_i log p_t ],  A = R - mean

Fu 2025; paper, table 1. The scripts use 7 rollouts per question, so the demonstration is the eighth group member, and
add an entropy bonus: `regularizers = [{ name = "entropy", micro_batches = {} }]`. K is the number of micro-batches with
a demonstration, on 8 GPUs (hpt_core/upge/micro_batches.py).
"""

from typing import Any, Literal

from pydantic import Field, model_validator

from hpt_core.algorithms.luffy import JOINT_MEAN, JOINT_ZSCORE, RELEASED_SUM, OffPolicy
from hpt_core.base import merge
from hpt_core.gates.base import Gate
from hpt_core.upge.algorithm import Algorithm
from hpt_core.upge.parts import Advantage
from hpt_core.upge.signal import Signal

FORMS: dict[str, dict[str, dict[str, Any]]] = {
    "paper": {"off": {"advantage": JOINT_ZSCORE, "likelihood_gradient": "plain"}},
    "script": {
        "sft": {"aggregation": "micro_batch_mean"},
        "off": {"advantage": JOINT_MEAN, "likelihood_gradient": "shaped", "aggregation": RELEASED_SUM},
        "rl": {"aggregation": RELEASED_SUM},
    },
}
"""Form -> signal -> parts."""


class Demonstrations(Signal):
    """- 0.5 e^(-h) log pi_theta on demonstrations."""

    on: Literal["rollouts", "demonstration"] = "demonstration"
    advantage: Advantage = Field(default="inverse_entropy", validate_default=True)


class Rollouts(Signal):
    """- w log pi_theta on rollouts."""

    on: Literal["rollouts", "demonstration"] = "rollouts"
    advantage: Advantage = Field(default="signed_entropy", validate_default=True)


class SRFT(Algorithm):
    """SRFT."""

    gate: Gate = Field(default={"name": "always", "signals": ("rl", "sft", "off")}, validate_default=True)
    form: Literal["paper", "script"] = "paper"
    """Sets the parts in which the paper and its scripts differ. Parts set in a signal override it."""
    rl: Rollouts = Field(default_factory=Rollouts)
    """The rollouts' signal."""
    sft: Demonstrations = Field(default_factory=Demonstrations)
    """The demonstration's supervised signal."""
    off: OffPolicy = Field(default_factory=OffPolicy)
    """The demonstration's off-policy signal."""

    @model_validator(mode="before")
    @classmethod
    def _fill_form(cls, data: Any) -> Any:
        return merge(FORMS.get(str(data.get("form", "paper")), {}), data) if isinstance(data, dict) else data
