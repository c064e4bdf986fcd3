"""Gates: the truth table of each, and that every gate keeps the contract."""

import pytest
from pydantic import TypeAdapter, ValidationError

from hpt_core.gates import always, switch
from hpt_core.plugins import config_union, names

PACKAGE = "hpt_core.gates"


@pytest.mark.parametrize(
    ("gamma", "successes", "chosen"),
    [
        (0.0, 0, "sft"),
        (0.0, 1, "rl"),
        (0.0, 8, "rl"),
        (0.25, 1, "sft"),
        (0.25, 2, "sft"),  # P equal to gamma
        (0.25, 3, "rl"),
        (1.0, 8, "sft"),
    ],
)
def test_switch_truth_table(gamma: float, successes: int, chosen: str) -> None:
    assert switch.Config(gamma=gamma).coefficients(successes / 8, True) == {chosen: 1.0}


@pytest.mark.parametrize("n", range(1, 33))
def test_switch_at_exactly_gamma_takes_the_demonstration_for_any_group_size(n: int) -> None:
    for successes in range(n + 1):
        gate = switch.Config(gamma=successes / n)
        assert gate.coefficients(successes / n, True) == {"sft": 1.0}
        if successes < n:
            assert gate.coefficients((successes + 1) / n, True) == {"rl": 1.0}


def test_switch_names_of_signals_can_be_chosen() -> None:
    gate = switch.Config(above="on_policy", otherwise="imitation")
    assert gate.signal_names == ("on_policy", "imitation")
    assert gate.coefficients(0.0, True) == {"imitation": 1.0}


@pytest.mark.parametrize("success_rate", [None, 0.0, 0.5, 1.0])
@pytest.mark.parametrize("has_demonstration", [True, False])
def test_always_ignores_the_question(success_rate: float | None, has_demonstration: bool) -> None:
    gate = always.Config(signals=("rl", "sft"))
    assert gate.coefficients(success_rate, has_demonstration) == {"rl": 1.0, "sft": 1.0}


@pytest.mark.parametrize("wrong", [{"name": "switch", "gamma": -0.1}, {"name": "switch", "gamma": 1.5}, "swich"])
def test_wrong_gate_is_refused(wrong: object) -> None:
    with pytest.raises(ValidationError):
        TypeAdapter(config_union(PACKAGE)).validate_python(wrong)


@pytest.mark.parametrize("name", names(PACKAGE))
def test_every_gate_round_trips_and_chooses_among_its_signals(name: str) -> None:
    adapter = TypeAdapter(config_union(PACKAGE))
    gate = adapter.validate_python(name)
    assert gate.name == name
    assert adapter.validate_json(adapter.dump_json(gate)) == gate
    for success_rate in (0.0, 0.25, 0.5, 1.0):
        assert set(gate.coefficients(success_rate, True)) <= set(gate.signal_names)
