"""Seeds for everything random, derived so that a resumed run equals an uninterrupted one.

Two samples have the same seed with probability 2**-31, and then are equal only if they answer the same prompt. Among n
responses to one question, the probability of an equal pair is about n**2 / 2**32. Wider seeds would not help on CPUs,
whose generators (torch, NumPy's global one) take 32 bits.
"""

import hashlib


def derive(run_seed: int, purpose: str, *parts: int | str) -> int:
    """A seed in [0, 2**31) from the run's seed, a purpose such as "rollout" or "evaluation", and the sample's parts.

    Parts are typically step, question id and sample index. The seed depends on nothing else.
    """
    text = "\x1f".join([str(run_seed), purpose, *(f"{type(p).__name__}:{p}" for p in parts)])
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:4], "big") & 0x7FFFFFFF
