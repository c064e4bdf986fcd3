"""Rollouts are graded while sampling continues, and verdicts keep the rollouts' order."""

import random
from pathlib import Path

import pytest

from hpt_core.model_folder import load_tokenizer
from hpt_core.prompts.plain import PlainText
from hpt_core.rollout.base import FinishReason, Rollout, Sampling
from hpt_core.rollout.scripted import Scripted
from hpt_core.training.collect import Collector, QuestionGroup, Verifying, warn_if_alike
from hpt_core.training.config import TrainConfig, ValidationConfig
from hpt_core.training.distributed import World
from hpt_core.training.questions import TrainingQuestion
from hpt_core.training.validation import mean_reward
from hpt_core.upge.estimator import Estimator
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


CUT_OFF = "Is it \\boxed{7}? Let me check"
"""A response that reached its limit while the model was thinking."""


@pytest.mark.parametrize(
    ("end", "response", "outcome"),
    [
        ("", CUT_OFF, "correct"),  # without thinking, the box is the answer
        ("", f"<think>{CUT_OFF}", "no_answer"),
        ("<think>\n", CUT_OFF, "no_answer"),
        ("<think>\n", f"{CUT_OFF}</think>\\boxed{{7}}", "correct"),
        ("<think>\n\n</think>\n", CUT_OFF, "correct"),  # thinking is switched off
    ],
)
def test_a_rollout_cut_off_inside_its_thinking_earns_nothing(
    tiny_model: Path, end: str, response: str, outcome: str
) -> None:
    prompt = PlainText(template="{question}" + end, instruction="").bind(load_tokenizer(tiny_model))
    config = TrainConfig.model_validate(
        {"algorithm": "grpo", "steps": 1, "rollouts_per_question": 2, "engine": "scripted"}
    )
    engine = Scripted(otherwise=response).open(tiny_model, 128, "float32", 0)
    asked = [question("7", "math", f"{n}?") for n in range(2)]
    with VerifierPool(1) as pool:
        collector = Collector(config, 1, prompt, Estimator(config.algorithm, 64), engine, pool, World())
        groups = collector.collect(asked, 1).groups
        reward = mean_reward(asked, ValidationConfig(), Sampling(max_tokens=64), 1, prompt, engine, pool, World())
    reward_of = 1.0 if outcome == "correct" else 0.0
    for group in groups:
        assert [verdict.outcome for verdict in group.verdicts] == [outcome] * 2
        assert group.rewards == (reward_of,) * 2
        # What is stored is what was graded.
        assert {rollout.text for rollout in group.rollouts} == {(end if end == "<think>\n" else "") + response}
    assert reward == reward_of
