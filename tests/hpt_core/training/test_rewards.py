"""Custom rewards: partial credit, penalties, weights. Gates still count correct rollouts."""

import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from hpt_core.errors import DataError, VerifierError
from hpt_core.plugins import FOLDERS
from hpt_core.rollout.base import Rollout
from hpt_core.training.collect import Verifying
from hpt_core.training.config import Reward, TrainConfig
from hpt_core.training.questions import TrainingQuestion
from hpt_core.upge.advantage.signed_entropy import SignedEntropy
from hpt_core.upge.base import Group
from hpt_core.upge.estimator import Estimator
from hpt_core.verifiers import Outcome
from hpt_core.verifiers.pool import VerifierPool

MODULE = '''
from typing import ClassVar

from hpt_core.verifiers.base import Judgment, Outcome, Verifier


class Length(Verifier):
    """Minus one for a response of `most` characters or more, in proportion below."""

    reward_range: ClassVar[tuple[float, float]] = (-1.0, 0.0)
    most: int = 100

    def extract(self, response, question=""):
        return response

    def judge(self, gold, answer, question=""):
        return Judgment(Outcome.CORRECT, -min(1.0, len(answer) / self.most))


class Credit(Verifier):
    """Half a point for the right parity."""

    def extract(self, response, question=""):
        return response.strip() or None

    def judge(self, gold, answer, question=""):
        if answer == gold:
            return Outcome.CORRECT
        if not (answer or "").isdigit():
            return Outcome.NO_ANSWER
        return Judgment(Outcome.INCORRECT, 0.5 if (int(answer) - int(gold)) % 2 == 0 else 0.0)


class Broken(Length):
    def judge(self, gold, answer, question=""):
        return Judgment(Outcome.CORRECT, 3.0)
'''


@pytest.fixture
def own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """A module of the user's with verifiers; its name."""
    (tmp_path / "own_rewards.py").write_text(MODULE)
    monkeypatch.setenv(FOLDERS, os.pathsep.join(filter(None, [os.environ.get(FOLDERS), str(tmp_path)])))
    monkeypatch.syspath_prepend(str(tmp_path))
    yield "own_rewards"
    sys.modules.pop("own_rewards", None)


@pytest.fixture
def pool(own: str) -> Iterator[VerifierPool]:
    """Its processes can import the user's module."""
    with VerifierPool(1) as pool:
        yield pool


def rewards_of(*rewards: dict[str, Any]) -> tuple[Reward, ...]:
    return tuple(map(Reward.model_validate, rewards))


def ask(kind: str, gold: str) -> TrainingQuestion:
    return TrainingQuestion("q", "1 + 1", gold, kind, "the demonstration", 3, 4)


def test_partial_credit_is_a_reward_but_not_a_success(own: str, pool: VerifierPool) -> None:
    found = pool.verify([(f"{own}:Credit", "4", answer) for answer in ("4", "2", "3", "", "four")])
    assert [v.reward for v in found] == [1.0, 0.5, 0.0, 0.0, 0.0]
    assert [v.outcome for v in found] == [Outcome.CORRECT, *[Outcome.INCORRECT] * 2, *[Outcome.NO_ANSWER] * 2]
    assert [v.correct for v in found] == [True, False, False, False, False]


def test_a_reward_out_of_range_is_an_error(own: str, pool: VerifierPool) -> None:
    with pytest.raises(VerifierError, match=r"own_rewards:Broken' gave a reward of 3\.0, not in \(-1\.0, 0\.0\)"):
        pool.verify([(f"{own}:Broken", "4", "4")])


def test_verifiers_are_weighted_and_the_questions_own_decides_correctness(own: str, pool: VerifierPool) -> None:
    parts = rewards_of({"weight": 2.0}, {"verifier": {"name": f"{own}:Length", "most": 20}, "weight": 0.5})
    responses = [r"\boxed{4}", r"\boxed{5}", "x" * 40]
    verifying = Verifying(pool, [ask("math", "4")] * 3, parts)
    for index in (2, 0, 1):
        verifying.add(index, Rollout((1,), (0.0,), responses[index], "stop"))
    found = verifying.result()
    assert [judged.verdict.correct for judged in found] == [True, False, False]
    assert [judged.reward for judged in found] == pytest.approx([2 - 0.5 * 9 / 20, -0.5 * 9 / 20, -0.5])


def test_gates_count_the_own_verdict_even_without_its_reward(own: str, pool: VerifierPool) -> None:
    verifying = Verifying(pool, [ask("math", "4")], rewards_of({"verifier": f"{own}:Length"}))
    verifying.add_text(0, r"\boxed{4}")
    (judged,) = verifying.result()
    assert judged.verdict.correct
    assert judged.reward == pytest.approx(-0.09)


def test_a_demonstration_is_correct_and_gets_the_other_rewards(own: str, pool: VerifierPool) -> None:
    parts = rewards_of({}, {"verifier": f"{own}:Length"})
    verifying = Verifying(pool, [ask("math", "4")], parts, by_definition=True)
    verifying.add_text(0, "no box at all")
    assert verifying.result()[0].reward == pytest.approx(1 - 0.13)


def test_gates_count_correct_rollouts_whatever_their_rewards() -> None:
    estimator = Estimator(TrainConfig.model_validate({"algorithm": "hpt", "steps": 1}).algorithm, max_length=8)
    wrong = Group("q", (0.5, 0.4), (3, 3), 4, correct=(False, False))
    assert [row.signals[0].name for row in estimator.rows(wrong)] == ["sft"]
    right = Group("q", (-0.5, 0.0), (3, 3), 4, correct=(True, False))
    assert {signal.name for row in estimator.rows(right) for signal in row.signals} == {"rl"}
    with pytest.raises(DataError, match=r"do not tell which rollouts are correct\. Remedy: set Group\.correct"):
        estimator.rows(Group("q", (0.5, 0.4), (3, 3), 4))


def test_parts_that_need_correctness_use_the_verdict() -> None:
    group = Group("q", (0.7, 0.9), (3, 3), None, correct=(True, False), demonstration_reward=0.8)
    assert SignedEntropy().estimate(group) == ((1.0, 0.0), 1.0)


def test_rewards_do_not_count_without_rollouts(own: str) -> None:
    def identity(algorithm: str, **fields: Any) -> dict[str, Any]:
        return TrainConfig.model_validate({"algorithm": algorithm, "steps": 1, **fields}).identity()

    shaped = {"rewards": [{}, {"verifier": f"{own}:Length"}]}
    assert identity("sft", **shaped) == identity("sft")
    assert identity("grpo", **shaped) != identity("grpo")


@pytest.mark.slow
def test_training_with_a_length_penalty(
    own: str, make_spec: Callable[..., Path], train: Callable[[Path], list[dict[str, Any]]], tmp_path: Path
) -> None:
    """The rewards that are trained on and logged hold the penalty; the success rate and the gate do not."""
    engine = {"name": "scripted", "responses": {"3=": ["\\boxed{3}", "\\boxed{4}"]}, "otherwise": "\\boxed{0}"}
    rewards = [{}, {"verifier": {"name": f"{own}:Length", "most": 90}, "weight": 0.5}]
    train(make_spec(tmp_path / "run", engine=engine, rewards=rewards, steps=2, algorithm="hpt"))
    output = tmp_path / "run" / "output"
    rows = pq.read_table(output / "rollouts" / "step-00001.parquet").to_pylist()
    for row in rows:
        penalty = 0.5 * len(row["response"]) / 90
        assert row["reward"] == pytest.approx((row["outcome"] == "correct") - penalty)
        assert row["signals"] == (["rl"] if row["success_rate"] > 0 else ["sft"])
    assert any(row["success_rate"] > 0 for row in rows)
    assert any(row["success_rate"] == 0 for row in rows)
    log = pq.read_table(output / "log.parquet").to_pylist()
    assert log[0]["reward"] == pytest.approx(sum(row["reward"] for row in rows) / len(rows))
    assert log[0]["success_rate"] == pytest.approx(sum(row["outcome"] == "correct" for row in rows) / len(rows))
