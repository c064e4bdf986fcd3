"""Seeds for everything random, derived so that a resumed run equals an undisturbed one.

Two samples have the same seed with a chance of 2**-31, and are alike then only if they answer one prompt: a pair of
n responses to one question is so with a chance of about n**2 / 2**32. Wider seeds would gain nothing on a CPU, whose
generators (torch, NumPy's global one) take 32 bits.
"""

import hashlib


def derive(run_seed: int, purpose: str, *parts: int | str) -> int:
    """A seed in [0, 2**31) from the run's seed, a purpose ("rollout", "evaluation", "draw") and what names the sample.

    Parts are typically step, question id and sample index. The result depends on nothing else.
    """
    text = "\x1f".join([str(run_seed), purpose, *(f"{type(p).__name__}:{p}" for p in parts)])
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:4], "big") & 0x7FFFFFFF
