"""Rollouts are graded while sampling continues, and verdicts keep the rollouts' order."""

import random

import pytest

from hpt_core.rollout.base import FinishReason, Rollout
from hpt_core.training.collect import QuestionGroup, Verifying, warn_if_alike
from hpt_core.training.questions import TrainingQuestion
from hpt_core.verifiers.base import Outcome
from hpt_core.verifiers.pool import CHUNK, VerifierPool


def question(gold: str, kind: str, text: str = "?") -> TrainingQuestion:
    return TrainingQuestion("q", text, gold, kind, None, 1, None)


def test_verdicts_keep_the_order_of_the_rollouts() -> None:
    count = 2 * CHUNK + 3
    order = random.Random(4).sample(range(count), count)
    with VerifierPool(1) as pool:
        verifying = Verifying(pool, [question(str(i), "math") for i in range(count)])
        for i in order:
            answer = i if i % 3 else i + 1
            verifying.add(i, Rollout((), (), f"so \\boxed{{{answer}}}", "stop"))
        judged = verifying.result()
    verdicts = [j.verdict for j in judged]
    assert [j.reward for j in judged] == [float(v.correct) for v in verdicts]
    assert [v.outcome for v in verdicts] == [Outcome.CORRECT if i % 3 else Outcome.INCORRECT for i in range(count)]
    assert [v.extracted for v in verdicts] == [str(i if i % 3 else i + 1) for i in range(count)]


def test_a_choice_is_verified_with_its_question() -> None:
    with VerifierPool(1) as pool:
        verifying = Verifying(pool, [question("B", "choice", "Which?\n\nA) iron\nB) gold")] * 2)
        verifying.add(1, Rollout((), (), "so \\boxed{Gold}", "stop"))
        verifying.add(0, Rollout((), (), "so \\boxed{iron}", "stop"))
        assert [judged.verdict.extracted for judged in verifying.result()] == ["A", "B"]


def test_without_rollouts_nothing_waits() -> None:
    assert Verifying(None, []).result() == []


def group(name: str, *texts: str, reason: FinishReason = "stop") -> QuestionGroup:
    asked = TrainingQuestion(name, "?", "1", "math", None, 1, None)
    return QuestionGroup(asked, (1,), tuple(Rollout((1,), (0.0,), text, reason) for text in texts), (), (), None, ())


def test_responses_that_are_all_alike_are_warned_of_once(caplog: pytest.LogCaptureFixture) -> None:
    told: set[str] = set()
    warn_if_alike(1, [group("a", "1", "2"), group("b", "1", "")], told)
    warn_if_alike(2, [group("a"), group("b")], told)
    assert (caplog.messages, told) == ([], set())
    warn_if_alike(3, [group("a", "!", "!", reason="length"), group("b", "!", "!", reason="length")], told)
    warn_if_alike(4, [group("a", "x", reason="length"), group("b", "y", reason="length")], told)
    warn_if_alike(5, [group("a", ""), group("b", " ")], told)
    assert [message.partition(";")[0] for message in caplog.messages] == [
        "step 3: all 4 responses are identical",
        "step 3: all 4 responses are cut at the token limit",
        "step 5: all 2 responses are empty",
    ]
