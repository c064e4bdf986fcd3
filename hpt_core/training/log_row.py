"""Build one step's row of the training log."""

import math
from collections.abc import Mapping
from statistics import fmean
from typing import Any

from hpt_core.training.collect import Collected
from hpt_core.training.updated import Updated
from hpt_core.upge.base import DEMONSTRATION
from hpt_core.upge.signal import Signal


def describe(row: dict[str, Any]) -> str:
    """A short summary of a log row."""
    words = []
    if not math.isnan(row["reward"]):
        words += [f"reward {row['reward']:.3f}", f"to demonstrations {row['demonstration_share']:.2f}"]
    if not math.isnan(row["demonstration_nll"]):
        words.append(f"demonstration NLL {row['demonstration_nll']:.4f}")
    if not math.isnan(row["validation_reward"]):
        words.append(f"validation {row['validation_reward']:.3f}")
    return ", ".join(words)


def log_row(
    step: int,
    signals: Mapping[str, Signal],
    collected: Collected,
    updates: list[Updated],
    rate: float,
    seconds: dict[str, float],
    total: float,
) -> dict[str, Any]:
    """A row of schemas.TRAIN_LOG without mismatch_kl, device_seconds and the validation's columns.

    `signals` are the estimator's, `seconds` is the time per phase, and `total` is the time of the whole step.
    """
    rollouts = [rollout for group in collected.groups for rollout in group.rollouts]
    rows = [row for group in collected.groups for row in group.rows]
    sums = {name: sum(u.metrics[name] for u in updates) for name in {n for u in updates for n in u.metrics}}
    carried = sum(value for name, value in sums.items() if name.startswith("tokens_"))
    clipped = sum(value for name, value in sums.items() if name.startswith("clipped_"))
    trained = sum(update.tokens for update in updates)
    generated = sum(len(rollout.token_ids) for rollout in rollouts)
    demonstrations = sum(update.demonstration_tokens for update in updates)
    nats = sum(update.demonstration_nats for update in updates)
    count = max(1, len(updates))
    return {
        "step": step,
        "reward": _mean([reward for group in collected.groups for reward in group.rewards]),
        "success_rate": _mean([float(correct) for group in collected.groups for correct in group.correct]),
        "demonstration_share": _mean(
            [float(any(r.index == DEMONSTRATION for r in group.rows)) for group in collected.groups]
        ),
        "entropy": sums.get("entropy_sum", 0.0) / sums["tokens"] if sums.get("tokens") else math.nan,
        "response_tokens": _mean([float(len(rollout.token_ids)) for rollout in rollouts]),
        "truncated_share": _mean([float(rollout.finish_reason == "length") for rollout in rollouts]),
        "surrogate": sum(update.loss for update in updates) / count,
        "demonstration_nll": nats / demonstrations if demonstrations else math.nan,
        "signals": [
            {
                "signal": name,
                "surrogate": sums.get(f"loss_{name}", 0.0) / count,
                "tokens": int(sums.get(f"tokens_{name}", 0)),
                "clipped": int(sums.get(f"clipped_{name}", 0)),
            }
            for name in signals
        ],
        "gradient_norm": _mean([update.norm for update in updates]),
        "clipped_share": clipped / carried if carried else 0.0,
        "learning_rate": rate,
        "updates": len(updates),
        "skipped_updates": sum(update.skipped for update in updates),
        "rollout_rows": sum(row.index != DEMONSTRATION for row in rows),
        "demonstration_rows": sum(row.index == DEMONSTRATION for row in rows),
        "generated_tokens": generated,
        "trained_tokens": trained,
        "demonstration_tokens": demonstrations,
        **{f"seconds_{phase}": value for phase, value in seconds.items()},
        "tokens_per_second": (generated + trained) / total,
        "peak_memory_gib": peak_memory_gib(),
    }


def _mean(values: list[float]) -> float:
    return fmean(values) if values else math.nan


def peak_memory_gib() -> float:
    """Peak memory of this process so far: GPU memory if there is a GPU, else resident memory."""
    import resource

    import torch

    if torch.cuda.is_available():
        return torch.cuda.max_memory_allocated() / 2**30
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
