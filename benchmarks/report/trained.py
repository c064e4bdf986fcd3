"""What each training did, in numbers: its demonstrations, and gate, reward and truncation by quarters of its steps."""

import math
from statistics import fmean
from typing import NamedTuple

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
    found = []
    for stage in dict.fromkeys(training_log.column("stage").to_pylist()):
        rows = [row for row in training_log.to_pylist() if row["stage"] == stage]

        def quarters(name: str, scale: float, digits: int, rows: list[dict[str, float]] = rows) -> str:
            size = math.ceil(len(rows) / QUARTERS)
            parts = [[row[name] for row in rows[at : at + size]] for at in range(0, len(rows), size)]
            means = [fmean(values) for values in parts]
            return "" if any(map(math.isnan, means)) else " · ".join(f"{scale * mean:.{digits}f}" for mean in means)

        found.append(
            Trained(
                label=rows[0]["label"],
                steps=len(rows),
                demonstrations=sum(row["demonstration_rows"] for row in rows),
                rollouts=sum(row["rollout_rows"] for row in rows),
                gate=quarters("demonstration_share", 100, 0),
                reward=quarters("reward", 1, 2),
                truncated=quarters("truncated_share", 100, 0) if quarters("reward", 1, 2) else "",
            )
        )
    return found
