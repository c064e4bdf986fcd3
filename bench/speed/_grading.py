"""Grade one set of responses in one way, in a separate process (bench.speed.grading)."""

import logging
import statistics
import time
from pathlib import Path
from typing import Any

from bench import child
from bench.speed.answers import SETS, Pair, boxed
from hpt_core.verifiers.pool import Item, VerifierPool


def ours(pairs: list[Pair], workers: int) -> tuple[float, list[bool]]:
    """Grade with our pool. Returns seconds, and whether each response passed."""
    with VerifierPool(workers) as pool:
        pool.verify([Item("math", str(n), f"\\boxed{{{n}+x}}") for n in range(8 * workers)])
        started = time.perf_counter()
        verdicts = pool.verify([Item("math", pair.gold, pair.response) for pair in pairs])
        seconds = time.perf_counter() - started
    return seconds, [verdict.correct for verdict in verdicts]


def math_verify(pairs: list[Pair], cached: bool) -> tuple[float, list[bool]]:
    """Grade with Math-Verify's defaults in this process. `cached`: parse each gold answer once."""
    from math_verify import parse, verify

    logging.getLogger("math_verify").setLevel(logging.CRITICAL)
    verify(parse("\\boxed{\\frac{1}{2}x}"), parse("so $\\boxed{0.5x}$"))
    parsed: dict[str, Any] = {}
    passed = []
    started = time.perf_counter()
    for pair in pairs:
        gold = parsed.get(pair.gold) if cached else None
        if gold is None:
            gold = parsed[pair.gold] = parse(boxed(pair.gold))
        passed.append(bool(verify(gold, parse(pair.response))))
    return time.perf_counter() - started, passed


def measure(
    kind: str, way: str, seed: int, data: str, golds: int | None, sentences: int, workers: int
) -> dict[str, Any]:
    """Seconds of one way on one set, and the share of responses that passed, by how they were made."""
    pairs = SETS[kind](Path(data), golds, sentences, seed)
    seconds, passed = ours(pairs, workers) if way == "ours" else math_verify(pairs, "cached" in way)
    shares = {
        made: statistics.fmean(ok for ok, pair in zip(passed, pairs, strict=True) if pair.made == made)
        for made in sorted({pair.made for pair in pairs})
    }
    return {"answers": len(pairs), "seconds": seconds, **{f"passed_{made}": share for made, share in shares.items()}}


if __name__ == "__main__":
    child.answer(measure)
