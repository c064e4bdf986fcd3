"""Verdicts are made while the engine draws, and come back in the rollouts' order."""

import random

from hpt_core.rollout.base import Rollout
from hpt_core.training.collect import Verifying
from hpt_core.verifiers.base import Outcome
from hpt_core.verifiers.pool import CHUNK, VerifierPool


def test_verdicts_keep_the_rollouts_order_whatever_finishes_first() -> None:
    count = 2 * CHUNK + 3
    order = random.Random(4).sample(range(count), count)
    with VerifierPool(1) as pool:
        verifying = Verifying(pool, [("math", str(i)) for i in range(count)])
        for i in order:
            answer = i if i % 3 else i + 1
            verifying.add(i, Rollout((), (), f"so \\boxed{{{answer}}}", "stop"))
        verdicts = verifying.result()
    assert [v.outcome for v in verdicts] == [Outcome.CORRECT if i % 3 else Outcome.INCORRECT for i in range(count)]
    assert [v.extracted for v in verdicts] == [str(i if i % 3 else i + 1) for i in range(count)]


def test_without_rollouts_there_is_nothing_to_wait_for() -> None:
    assert Verifying(None, []).result() == []
