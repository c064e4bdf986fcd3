"""Seeds for everything random, derived so that no noise repeats and a resumed run equals an undisturbed one."""

import hashlib


def derive(run_seed: int, purpose: str, *parts: int | str) -> int:
    """A seed in [0, 2**31) from the run's seed, a purpose ("rollout", "evaluation", "draw") and what names the draw.

    Parts are typically step, question id and sample index. The result depends on nothing else.
    """
    text = "\x1f".join([str(run_seed), purpose, *(f"{type(p).__name__}:{p}" for p in parts)])
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:4], "big") & 0x7FFFFFFF
