"""The losses that TRL and we both have: how each side is configured to the same one."""

from dataclasses import dataclass
from typing import Any

from bench.parity.tiny import ROLLOUTS


@dataclass(frozen=True)
class Case:
    """One loss of TRL's and the composition of ours that should have its gradient."""

    name: str
    trl: dict[str, Any]
    """GRPOConfig fields."""
    ours: dict[str, Any]
    """Algorithm config."""
    theirs: str
    """TRL's setting, in Markdown."""
    mine: str
    """Our setting, in Markdown."""
    bridged: str
    """Difference of definition that `trl` and `ours` bridge."""


ZSCORE = {"name": "group_zscore", "eps": 1e-4}
CASES = (
    Case(
        "grpo",
        {"loss_type": "grpo"},
        {"name": "grpo", "rl": {"advantage": ZSCORE}},
        '`loss_type="grpo"`',
        "`grpo`",
        "TRL adds 1e-4 to the standard deviation, GRPO's text and ours 1e-6",
    ),
    Case(
        "bnpo",
        {"loss_type": "bnpo"},
        {"name": "grpo", "rl": {"advantage": ZSCORE, "aggregation": "token_mean"}},
        '`"bnpo"`',
        '`grpo` with `aggregation = "token_mean"`',
        "the same",
    ),
    Case(
        "dapo",
        {"loss_type": "dapo", "epsilon_high": 0.28},
        {"name": "dapo", "rl": {"advantage": ZSCORE}},
        '`"dapo"`, TRL\'s default',
        "`dapo`",
        "the same",
    ),
    Case(
        "dr_grpo",
        {"loss_type": "dr_grpo", "scale_rewards": "none"},
        {"name": "dr_grpo", "rl": {"coefficient": 1 / ROLLOUTS}},
        '`"dr_grpo"`, `scale_rewards="none"`',
        "`dr_grpo`",
        "TRL divides by sequences x M, ours by questions x M: ours is n times as large",
    ),
    Case(
        "cispo",
        {"loss_type": "cispo", "epsilon_high": 1.5},
        {
            "name": "cispo",
            "rl": {"advantage": ZSCORE, "stabilization_mask": {"name": "clipped_ratio", "eps_high": 0.5}},
        },
        '`"cispo"`',
        "`cispo`",
        "TRL's `epsilon_high` is the cap of the ratio itself, ours is what it may exceed 1 by; and the deviation",
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
        '`"grpo"`, `importance_sampling_level="sequence"`',
        "`gspo`",
        "the deviation",
    ),
)
SFT = Case("sft", {}, {"name": "sft"}, 'SFTTrainer, `"nll"`', "`sft`", "nothing")
