"""What each training did, in numbers: its demonstrations, and gate, reward and truncation by quarters of its steps."""

import math
from itertools import groupby
from typing import NamedTuple

import numpy as np
import pyarrow as pa

QUARTERS = 4


class Trained(NamedTuple):
    """One training stage, as the page and leaderboard.md show it."""

    label: str
    steps: int
    demonstrations: int
    """Demonstrations that were trained on."""
    rollouts: int
    """Rollouts that were trained on."""
    gate: str
    """Share of questions gated to their demonstration in each quarter, in percent: "33 · 28 · 24 · 25"."""
    reward: str
    """Mean reward of the rollouts in each quarter; "" without rollouts."""
    truncated: str
    """Share of rollouts cut at their limit in each quarter, in percent; "" without rollouts."""


def trained(training_log: pa.Table) -> list[Trained]:
    """Every stage of TRAINING_LOG, in its order."""
    columns = [
        "stage",
        "label",
        "demonstration_rows",
        "rollout_rows",
        "demonstration_share",
        "reward",
        "truncated_share",
    ]
    rows = training_log.select(columns).to_pylist()
    found = []
    for _, of_stage in groupby(rows, key=lambda row: row["stage"]):
        steps = list(of_stage)
        reward = _quarters([row["reward"] for row in steps], "{:.2f}")
        found.append(
            Trained(
                label=steps[0]["label"],
                steps=len(steps),
                demonstrations=sum(row["demonstration_rows"] for row in steps),
                rollouts=sum(row["rollout_rows"] for row in steps),
                gate=_quarters([100 * row["demonstration_share"] for row in steps], "{:.0f}"),
                reward=reward,
                truncated=_quarters([100 * row["truncated_share"] for row in steps], "{:.0f}") if reward else "",
            )
        )
    return found


def _quarters(values: list[float], text: str) -> str:
    """The mean of each quarter; "" if a value is NaN. Fewer steps than four are shown one by one."""
    if any(map(math.isnan, values)):
        return ""
    return " · ".join(text.format(part.mean()) for part in np.array_split(values, min(QUARTERS, len(values))))
