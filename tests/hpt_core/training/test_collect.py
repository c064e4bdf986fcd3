"""Rollouts are graded while sampling continues, and verdicts keep the rollouts' order."""

import random
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from hpt_core.model_folder import load_tokenizer
from hpt_core.prompts.plain import PlainText
from hpt_core.rollout.base import FinishReason, Rollout, Sampling
from hpt_core.rollout.scripted import Scripted
from hpt_core.training.collect import Collector, Judged, QuestionGroup, Verifying, warn_if_alike, warn_if_truncated
from hpt_core.training.config import TrainConfig, ValidationConfig
from hpt_core.training.distributed import World
from hpt_core.training.questions import TrainingQuestion
from hpt_core.training.validation import held_out_rewards
from hpt_core.upge.base import DEMONSTRATION
from hpt_core.upge.estimator import Estimator
from hpt_core.verifiers.base import Outcome, Verdict
from hpt_core.verifiers.pool import CHUNK, VerifierPool


@pytest.fixture(scope="module")
def pool() -> Iterator[VerifierPool]:
    with VerifierPool(1) as found:
        yield found


def question(gold: str, kind: str, text: str = "?") -> TrainingQuestion:
    return TrainingQuestion("q", text, gold, kind, None, 1, None)


def test_verdicts_keep_the_order_of_the_rollouts(pool: VerifierPool) -> None:
    count = 2 * CHUNK + 3
    order = random.Random(4).sample(range(count), count)
    verifying = Verifying(pool, [question(str(i), "math") for i in range(count)])
    for i in order:
        answer = i if i % 3 else i + 1
        verifying.add(i, Rollout((), (), f"so \\boxed{{{answer}}}", "stop"))
    judged = verifying.result()
    verdicts = [j.verdict for j in judged]
    assert [j.reward for j in judged] == [float(v.correct) for v in verdicts]
    assert [v.outcome for v in verdicts] == [Outcome.CORRECT if i % 3 else Outcome.INCORRECT for i in range(count)]
    assert [v.extracted for v in verdicts] == [str(i if i % 3 else i + 1) for i in range(count)]


def test_a_choice_is_verified_with_its_question(pool: VerifierPool) -> None:
    verifying = Verifying(pool, [question("B", "choice", "Which?\n\nA) iron\nB) gold")] * 2)
    verifying.add(1, Rollout((), (), "so \\boxed{Gold}", "stop"))
    verifying.add(0, Rollout((), (), "so \\boxed{iron}", "stop"))
    assert [judged.verdict.extracted for judged in verifying.result()] == ["A", "B"]


def test_without_rollouts_nothing_waits() -> None:
    assert Verifying(None, []).result() == []


def group(name: str, *texts: str, reason: FinishReason = "stop") -> QuestionGroup:
    asked = TrainingQuestion(name, "?", "1", "math", None, 1, None)
    return QuestionGroup(
        asked, (1,), tuple(Rollout((1,), (0.0,), text, reason) for text in texts), (), (), (), None, ()
    )


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


def test_a_step_that_is_mostly_truncated_is_warned_of_once(caplog: pytest.LogCaptureFixture) -> None:
    told: set[str] = set()
    half = [group("a", "1", "2"), group("b", "1", "2", reason="length")]
    warn_if_truncated(1, half, told)
    warn_if_truncated(2, [], told)
    assert caplog.messages == []
    warn_if_truncated(3, [*half, group("c", "3", reason="length")], told)
    warn_if_truncated(4, [group("c", "3", reason="length")], told)
    assert [message.partition(";")[0] for message in caplog.messages] == [
        "step 3: 3 of 5 rollouts were cut at sampling.max_tokens"
    ]


def judged(*rollouts: tuple[bool, FinishReason], truncated: str = "no_reward") -> QuestionGroup:
    """The group of an HPT question whose rollouts are (correct, why it ended), with gate 0.25."""
    config = TrainConfig.model_validate(
        {"algorithm": {"name": "hpt", "gate": {"name": "switch", "gamma": 0.25}}, "steps": 1, "truncated": truncated}
    )
    asked = TrainingQuestion("q", "?", "1", "math", "so 1", 1, None)
    prompt: Any = SimpleNamespace(encode_demonstration=lambda question, text: [1, 2, 3])
    collector = Collector(config, 1, prompt, Estimator(config.algorithm, 64), None, None, World())
    texts = tuple(Rollout((1, 2), (0.0, 0.0), "?", reason) for _, reason in rollouts)
    verdicts = [Verdict(Outcome.CORRECT if ok else Outcome.INCORRECT, "1", float(ok)) for ok, _ in rollouts]
    return collector._group(asked, (1,), texts, [Judged(v, v.reward) for v in verdicts], 1.0)


def test_what_becomes_of_truncated_rollouts() -> None:
    some = ((True, "length"), (True, "length"), (True, "stop"), (False, "stop"))
    graded = judged(*some, truncated="grade")
    assert (graded.rewards, graded.correct) == ((1, 1, 1, 0), (True, True, True, False))
    assert [row.index for row in graded.rows] == [0, 1, 2, 3]
    without = judged(*some)
    assert (without.rewards, without.correct) == ((0, 0, 1, 0), (False, False, True, False))
    assert [row.index for row in without.rows] == [DEMONSTRATION], "a quarter succeeds, so the gate sends it there"
    masked = judged(*some, truncated="mask")
    assert (masked.rewards, masked.correct) == (graded.rewards, graded.correct)
    assert [row.index for row in masked.rows] == [2, 3]
    assert [row.signals for row in masked.rows] == [row.signals for row in graded.rows[2:]], "they count in the group"
    assert all(verdict.correct for verdict in without.verdicts[:3]), "the verdict is what the grader said"


def test_a_demonstration_is_correct_by_definition_or_graded(pool: VerifierPool) -> None:
    asked = [TrainingQuestion(gold, "?", gold, "math", "so \\boxed{1}", 1, None) for gold in ("1", "2")]
    found = {}
    for how in ("one", "graded"):
        config = TrainConfig.model_validate({"algorithm": "luffy", "steps": 1, "demonstration_reward": how})
        prompt: Any = None
        collector = Collector(config, 1, prompt, Estimator(config.algorithm, 64), None, pool, World())
        found[how] = collector._demonstration_rewards(asked)
    assert found == {"one": {}, "graded": {"1": 1.0, "2": 0.0}}


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
    tiny_model: Path, pool: VerifierPool, end: str, response: str, outcome: str
) -> None:
    prompt = PlainText(template="{question}" + end, instruction="").bind(load_tokenizer(tiny_model))
    config = TrainConfig.model_validate(
        {"algorithm": "grpo", "steps": 1, "rollouts_per_question": 2, "engine": "scripted"}
    )
    engine = Scripted(otherwise=response).open(tiny_model, 128, "float32", 0)
    asked = [question("7", "math", f"{n}?") for n in range(2)]
    collector = Collector(config, 1, prompt, Estimator(config.algorithm, 64), engine, pool, World())
    groups = collector.collect(asked, 1).groups
    held_out = ValidationConfig(samples=2)
    rewards = held_out_rewards(asked, held_out, Sampling(max_tokens=64), 1, prompt, engine, pool, World())
    reward_of = 1.0 if outcome == "correct" else 0.0
    for group in groups:
        assert [verdict.outcome for verdict in group.verdicts] == [outcome] * 2
        assert group.rewards == (reward_of,) * 2
        # What is stored is what was graded.
        assert {rollout.text for rollout in group.rollouts} == {(end if end == "<think>\n" else "") + response}
    assert rewards == [reward_of] * 2
