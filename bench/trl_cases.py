"""The losses that TRL and we both have, by trl_losses.py's names: how each side is configured to the same one."""

from dataclasses import dataclass
from typing import Any

from trl_tiny import ROLLOUTS


@dataclass(frozen=True)
class Case:
    """One loss of TRL's and the composition of ours that should have its gradient."""

    name: str
    trl: dict[str, Any]
    """GRPOConfig fields."""
    ours: dict[str, Any]
    """Algorithm config."""
    known: str = ""
    """Difference of definition that `trl` and `ours` bridge."""


EPS = "A / (std + 1e-4) in TRL, 1e-6 in GRPO's text and ours: set to 1e-4"
ZSCORE = {"name": "group_zscore", "eps": 1e-4}
CASES = (
    Case(
        "grpo",
        {"loss_type": "grpo"},
        {"name": "grpo", "rl": {"advantage": ZSCORE}},
        EPS,
    ),
    Case(
        "bnpo",
        {"loss_type": "bnpo"},
        {"name": "grpo", "rl": {"advantage": ZSCORE, "aggregation": "token_mean"}},
        f"GRPO with a mean over tokens; {EPS}",
    ),
    Case(
        "dapo",
        {"loss_type": "dapo", "epsilon_high": 0.28},
        {"name": "dapo", "rl": {"advantage": ZSCORE}},
        EPS,
    ),
    Case(
        "dr_grpo",
        {"loss_type": "dr_grpo", "scale_rewards": "none"},
        {"name": "dr_grpo", "rl": {"coefficient": 1 / ROLLOUTS}},
        f"TRL divides by sequences * M, ours by questions * M: coefficient 1/{ROLLOUTS}",
    ),
    Case(
        "cispo",
        {"loss_type": "cispo", "epsilon_high": 1.5},
        {
            "name": "cispo",
            "rl": {
                "advantage": ZSCORE,
                "stabilization_mask": {"name": "clipped_ratio", "eps_high": 0.5},
            },
        },
        f"TRL's epsilon_high is the ratio's cap itself, 1 + eps_high in ours; {EPS}",
    ),
    Case(
        "gspo",
        {"loss_type": "grpo", "importance_sampling_level": "sequence", "epsilon": 0.02, "epsilon_high": 0.03},
        {
            "name": "gspo",
            "rl": {
                "advantage": ZSCORE,
                "stabilization_mask": {"name": "sequence_clip", "eps_low": 0.02, "eps_high": 0.03},
            },
        },
        f"TRL's name is importance_sampling_level = sequence; {EPS}",
    ),
)
