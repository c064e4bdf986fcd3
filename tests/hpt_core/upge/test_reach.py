"""Signals that can never train, found from the gate, the advantages and the number of rollouts."""

from typing import Any

import pytest

from hpt_core.upge.estimator import Estimator
from hpt_core.upge.reach import Reach


def idle(algorithm: str, rollouts: int, by_verdict: bool = True, **changes: Any) -> list[str]:
    return list(reach(algorithm, rollouts, by_verdict, **changes).idle())


def reach(algorithm: str, rollouts: int, by_verdict: bool = True, **changes: Any) -> Reach:
    return Reach(Estimator({"name": algorithm, **changes}, max_length=16), rollouts, by_verdict)  # type: ignore[arg-type]


@pytest.mark.parametrize("rollouts", [2, 3, 7, 8])
@pytest.mark.parametrize(
    "algorithm", ["cispo", "dapo", "dr_grpo", "grpo", "gspo", "hpt", "luffy", "ppo", "reinforce", "srft"]
)
def test_every_algorithm_trains_all_its_signals(algorithm: str, rollouts: int) -> None:
    assert idle(algorithm, rollouts) == []


def test_demonstrations_need_no_rollouts() -> None:
    assert idle("sft", 0) == []


@pytest.mark.parametrize("algorithm", ["dr_grpo"])
@pytest.mark.parametrize("by_verdict", [True, False])
def test_a_single_rollout_minus_its_own_mean_is_zero(algorithm: str, by_verdict: bool) -> None:
    found = reach(algorithm, 1, by_verdict)
    assert not found.trains_anything
    assert [text.partition(":")[0] for text in found.idle()] == ["rl trains nothing"]


def test_the_z_score_of_a_single_rollout_is_its_reward() -> None:
    """GRPO does train then, on correct responses alone."""
    found = reach("grpo", 1)
    assert found.trains_anything
    (text,) = found.idle()
    assert "rl.advantage compares the rollouts of a question, but there is only one" in text
    assert idle("reinforce", 1) == idle("ppo", 1) == idle("luffy", 1) == []


@pytest.mark.parametrize(
    ("gate", "rollouts", "said"),
    [
        # The gate never opens: no success rate is above 1.
        ({"name": "switch", "gamma": 1.0}, 8, "gate never chooses the signal 'rl': of 8 rollouts"),
        # It opens only if all rollouts are correct, and then their advantages are 0.
        ({"name": "switch", "gamma": 0.9}, 8, "rl trains nothing"),
        ({"name": "switch", "gamma": 0.5}, 2, "rl trains nothing"),
        ({"name": "switch", "gamma": 0.0}, 1, "rl trains nothing"),
        ({"name": "soft"}, 1, "rl trains nothing"),
        # With 3 rollouts no success rate lies in (0, 0.25].
        ({"name": "gate_off", "gamma": 0.0, "gamma_off": 0.25}, 3, "gate never chooses the signal 'off': of 3"),
        ({"name": "gate_off", "gamma": 0.0, "gamma_off": 1.0}, 4, "gate never chooses the signal 'rl'"),
        ({"name": "gate_off", "gamma": -1.0, "gamma_off": 0.5}, 2, "rl trains nothing"),
    ],
)
def test_gates_that_never_choose_a_signal(gate: dict[str, Any], rollouts: int, said: str) -> None:
    (text,) = idle("hpt", rollouts, gate=gate)
    assert text.startswith(said)
    assert "; " in text


@pytest.mark.parametrize(
    ("gate", "rollouts"),
    [
        ({"name": "switch", "gamma": 0.25}, 8),
        ({"name": "switch", "gamma": 0.25}, 3),
        ({"name": "switch", "gamma": 0.74}, 4),
        ({"name": "gate_off", "gamma": 0.0, "gamma_off": 0.25}, 4),
        ({"name": "soft"}, 2),
    ],
)
def test_gates_that_choose_every_signal(gate: dict[str, Any], rollouts: int) -> None:
    assert idle("hpt", rollouts, gate=gate) == []


def test_rewards_of_several_parts_differ_between_correct_rollouts() -> None:
    gate = {"name": "switch", "gamma": 0.9}
    assert idle("hpt", 8, by_verdict=False, gate=gate) == []


def test_a_signal_without_weight_trains_nothing() -> None:
    (text,) = idle("hpt", 8, sft_coefficient=0.0)
    assert text.startswith("sft.coefficient is 0")
    assert not reach("sft", 0, sft={"coefficient": 0.0}).trains_anything
