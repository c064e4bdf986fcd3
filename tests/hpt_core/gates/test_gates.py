"""Gates: the truth table of each, and the contract of all."""

import pytest
from pydantic import TypeAdapter, ValidationError

from hpt_core.gates import always, gate_off, soft, switch
from hpt_core.gates.base import Gate


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
    assert switch.Switch(gamma=gamma).coefficients(successes / 8, True) == {chosen: 1.0}


@pytest.mark.parametrize("n", range(1, 33))
def test_switch_at_exactly_gamma_takes_the_demonstration_for_any_group_size(n: int) -> None:
    for successes in range(n + 1):
        gate = switch.Switch(gamma=successes / n)
        assert gate.coefficients(successes / n, True) == {"sft": 1.0}
        if successes < n:
            assert gate.coefficients((successes + 1) / n, True) == {"rl": 1.0}


def test_switch_names_of_signals_can_be_chosen() -> None:
    gate = switch.Switch(above="on_policy", otherwise="imitation")
    assert gate.signal_names == ("on_policy", "imitation")
    assert gate.coefficients(0.0, True) == {"imitation": 1.0}


def test_switch_takes_several_signals_for_one_side() -> None:
    mixed = switch.Switch(otherwise=["sft", "off"])
    assert mixed.signal_names == ("rl", "sft", "off")
    assert mixed.coefficients(0.0, True) == {"sft": 1.0, "off": 1.0}
    assert mixed.coefficients(0.5, True) == {"rl": 1.0}
    assert switch.Switch(above=["rl", "sft"]).signal_names == ("rl", "sft")


@pytest.mark.parametrize(
    ("gamma", "gamma_off", "successes", "chosen"),
    [
        (0.0, 0.25, 0, "sft"),
        (0.0, 0.25, 1, "off"),
        (0.0, 0.25, 2, "off"),  # P equal to gamma_off
        (0.0, 0.25, 3, "rl"),
        (0.25, 0.5, 2, "sft"),  # P equal to gamma
        (0.25, 0.5, 3, "off"),
        (-1.0, 0.0, 0, "off"),
        (-1.0, 0.0, 1, "rl"),
        (0.25, 0.25, 2, "sft"),
        (0.25, 0.25, 3, "rl"),
    ],
)
def test_gate_off_truth_table(gamma: float, gamma_off: float, successes: int, chosen: str) -> None:
    gate = gate_off.GateOff(gamma=gamma, gamma_off=gamma_off)
    assert gate.coefficients(successes / 8, True) == {chosen: 1.0}
    assert chosen in gate.signal_names


def test_gate_off_names_no_signal_of_an_empty_zone() -> None:
    assert gate_off.GateOff().signal_names == ("rl", "off", "sft")
    assert gate_off.GateOff(gamma=-1).signal_names == ("rl", "off")
    assert gate_off.GateOff(gamma=0.25).signal_names == ("rl", "sft")
    assert gate_off.GateOff(between=["off", "sft"]).coefficients(0.125, True) == {"off": 1.0, "sft": 1.0}


@pytest.mark.parametrize("successes", range(9))
def test_soft_gate_is_the_success_rate_by_default(successes: int) -> None:
    p = successes / 8
    found = soft.Soft().coefficients(p, True)
    assert found == {name: weight for name, weight in (("rl", p), ("sft", 1 - p)) if weight}


@pytest.mark.parametrize(
    ("success_rate", "alpha"), [(0.0, 0.0), (0.25, 0.0), (0.375, 0.25), (0.5, 0.5), (0.75, 1.0), (1.0, 1.0)]
)
def test_soft_gate_ramps_between_its_bounds(success_rate: float, alpha: float) -> None:
    found = soft.Soft(gamma_low=0.25, gamma_high=0.75).coefficients(success_rate, True)
    assert (found.get("rl", 0), found.get("sft", 0)) == (alpha, 1 - alpha)


def test_soft_gate_adds_coefficients_of_a_signal_on_both_sides() -> None:
    gate = soft.Soft(above=["rl", "sft"], otherwise="sft")
    assert gate.signal_names == ("rl", "sft")
    assert gate.coefficients(0.25, True) == {"rl": 0.25, "sft": 1.0}


@pytest.mark.parametrize("success_rate", [None, 0.0, 0.5, 1.0])
@pytest.mark.parametrize("has_demonstration", [True, False])
def test_always_ignores_the_question(success_rate: float | None, has_demonstration: bool) -> None:
    gate = always.Always(signals=("rl", "sft"))
    assert gate.coefficients(success_rate, has_demonstration) == {"rl": 1.0, "sft": 1.0}


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"name": "switch", "gamma": -0.1}, "greater than or equal to 0"),
        ({"name": "switch", "gamma": 1.5}, "less than or equal to 1"),
        ({"name": "switch", "gamma": float("nan")}, "gamma"),
        ({"name": "switch", "otherwise": []}, "at least 1 item"),
        ({"name": "switch", "otherwise": ["sft", "sft"]}, "names a signal twice; give the signal a coefficient"),
        ({"name": "switch", "otherwise": 3}, "otherwise"),
        ("swich", "did you mean 'switch'"),
        ({"name": "gate_off", "gamma": 0.5}, "set gamma_off to at least gamma"),
        ({"name": "soft", "gamma_low": 0.5, "gamma_high": 0.5}, 'or use gate "switch"'),
        ({"name": "soft", "gamma_low": 0.75, "gamma_high": 0.5}, "set gamma_high above gamma_low"),
    ],
)
def test_wrong_gate_is_refused(wrong: object, message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        TypeAdapter(Gate).validate_python(wrong)


@pytest.mark.parametrize("name", Gate.plugin_kind.names)
def test_every_gate_round_trips_and_chooses_among_its_signals(name: str) -> None:
    adapter = TypeAdapter(Gate)
    gate = adapter.validate_python(name)
    assert gate.name == name
    assert adapter.validate_json(adapter.dump_json(gate)) == gate
    for success_rate in (0.0, 0.25, 0.5, 1.0):
        assert set(gate.coefficients(success_rate, True)) <= set(gate.signal_names)
