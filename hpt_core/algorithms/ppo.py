"""PPO: clipped policy gradient with advantages per token from a value head, which is trained by a value loss.

    L = - mean over rollout tokens of min(r_it A_it, clip(r_it, 1 - eps, 1 + eps) A_it)
        + 1/2 mean over rollout tokens of (V_it - G_it)^2
    r = pi_theta / pi_old, eps = 0.2, A_it = sum_l (gamma lambda)^l delta_i,t+l, G = A + V_old
    delta_it = r_it + gamma V_old,t+1 - V_old,t, R_i the reward of the last token, gamma = 1, lambda = 0.95

Schulman 2017, equations 7, 9 and 11; paper, table 1. Advantages are not whitened, and there is no KL term. To clip
values, set `regularizers = [{ name = "value_loss", clip = 0.2 }]`.
"""

from typing import Any

from pydantic import Field, model_validator

from hpt_core.algorithms import grpo
from hpt_core.gates.base import Gate
from hpt_core.upge.algorithm import Algorithm
from hpt_core.upge.parts import Advantage, Aggregation, Regularizer


class Rollouts(grpo.Rollouts):
    """Clipped policy gradient on rollouts with advantages per token."""

    advantage: Advantage = Field(default="gae", validate_default=True)
    aggregation: Aggregation = Field(default="token_mean", validate_default=True)


class PPO(Algorithm):
    """PPO."""

    gate: Gate = Field(default="always", validate_default=True)
    rl: Rollouts = Rollouts()
    """The only signal."""
    regularizers: tuple[Regularizer, ...] = Field(default=("value_loss",), validate_default=True)
    """Terms on every token of an update. A value loss without gamma or lambda uses the advantage's."""

    @model_validator(mode="before")
    @classmethod
    def _one_return(cls, data: Any) -> Any:
        rl = data.get("rl") if isinstance(data, dict) else None
        advantage = rl.get("advantage") if isinstance(rl, dict) else None
        if not isinstance(advantage, dict) or advantage.get("name") != "gae":
            return data
        given = data.get("regularizers", ("value_loss",))
        if not isinstance(given, list | tuple):
            return data
        returns = {key: value for key, value in advantage.items() if key in ("gamma", "lam")}
        named = [{"name": term} if isinstance(term, str) else term for term in given]
        are_value_losses = [isinstance(term, dict) and term.get("name") == "value_loss" for term in named]
        filled = [returns | term if mine else term for term, mine in zip(named, are_value_losses, strict=True)]
        return data | {"regularizers": filled}
