"""The losses that TRL and we both have, with the settings that make them the same."""

from dataclasses import dataclass
from typing import Any

from bench.parity.tiny import ROLLOUTS


@dataclass(frozen=True)
class Case:
    """A loss of TRL and the algorithm of ours that must have the same gradient."""

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
    """The difference between both definitions, and how `trl` and `ours` remove it."""


ZSCORE = {"name": "group_zscore", "eps": 1e-4}
CASES = (
    Case(
        "grpo",
        {"loss_type": "grpo"},
        {"name": "grpo", "rl": {"advantage": ZSCORE}},
        '`loss_type="grpo"`',
        "`grpo`",
        "TRL adds 1e-4 to the standard deviation; the GRPO paper and ours add 1e-6",
    ),
    Case(
        "bnpo",
        {"loss_type": "bnpo"},
        {"name": "grpo", "rl": {"advantage": ZSCORE, "aggregation": "token_mean"}},
        '`"bnpo"`',
        '`grpo` with `aggregation = "token_mean"`',
        "as for `grpo`",
    ),
    Case(
        "dapo",
        {"loss_type": "dapo", "epsilon_high": 0.28},
        {"name": "dapo", "rl": {"advantage": ZSCORE}},
        '`"dapo"`, TRL\'s default',
        "`dapo`",
        "as for `grpo`",
    ),
    Case(
        "dr_grpo",
        {"loss_type": "dr_grpo", "scale_rewards": "none"},
        {"name": "dr_grpo", "rl": {"coefficient": 1 / ROLLOUTS}},
        '`"dr_grpo"`, `scale_rewards="none"`',
        "`dr_grpo`",
        "TRL divides by sequences x M, ours by questions x M, so ours is n times as large",
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
        "as for `grpo`; TRL's `epsilon_high` caps the ratio, our `eps_high` caps the ratio minus 1",
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
        "as for `grpo`",
    ),
)
SFT = Case("sft", {}, {"name": "sft"}, 'SFTTrainer, `"nll"`', "`sft`", "none")
