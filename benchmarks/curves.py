"""Which columns of the training log (hpt_core.schemas.TRAIN_LOG) pages plot, and with how many points."""

import math
from collections.abc import Sequence

CURVES = {
    "reward": "Reward, mean over rollouts",
    "success_rate": "Success rate of rollouts",
    "validation_reward": "Reward on held-out questions",
    "demonstration_share": "Questions gated to their demonstration",
    "entropy": "Policy entropy, nats",
    "response_tokens": "Response length, tokens",
    "demonstration_nll": "Negative log-likelihood of demonstrations, nats a token",
    "gradient_norm": "Gradient norm before clipping",
}
"""Column -> title of its figure."""
MOST = 200
"""Points of a curve."""


def steps_per_point(steps: int) -> int:
    """How many steps a point of a curve stands for."""
    return math.ceil(steps / MOST) or 1


def thinned(values: Sequence[float | None], width: int) -> list[float | None]:
    """The mean of what is known of every `width` values; None where nothing is."""
    found: list[float | None] = []
    for first in range(0, len(values), width):
        known = [v for v in values[first : first + width] if v is not None and math.isfinite(v)]
        found.append(math.fsum(known) / len(known) if known else None)
    return found


def last_steps(steps: Sequence[int], width: int) -> list[int]:
    """The last step of each point."""
    return [steps[min(first + width, len(steps)) - 1] for first in range(0, len(steps), width)]
