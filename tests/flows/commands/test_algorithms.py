"""`hpt algorithms show`: every algorithm with its parts, overrides, a pipeline's stage, and wrong input."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import pytest

from flows.cli import main
from hpt_core.upge.algorithm import Algorithm

CONFIGS = Path(__file__).resolve().parents[3] / "configs"
PARTS = ("stabilization_mask", "reference_policy", "advantage", "likelihood_gradient", "aggregation")


class Result(NamedTuple):
    code: int
    out: str
    err: str


Show = Callable[..., Result]


@pytest.fixture
def show(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Show:
    """`hpt algorithms show`, on a wide terminal."""
    monkeypatch.setenv("COLUMNS", "400")

    def run(*arguments: str) -> Result:
        with pytest.raises(SystemExit) as caught:
            main(["algorithms", "show", *arguments])
        captured = capsys.readouterr()
        return Result(int(caught.value.code or 0), captured.out, captured.err)

    return run


@pytest.mark.parametrize("name", Algorithm.plugin_kind.names)
def test_every_algorithm_is_shown_with_all_its_parts(show: Show, name: str) -> None:
    data = json.loads(show(name, "--json").out)
    assert data["name"] == name
    assert data["equation"] == Algorithm.from_value(name).equation
    result = show(name)
    assert (result.code, result.err) == (0, "")
    for line in data["equation"].splitlines():
        assert f"    {line}\n" in result.out
    shown = [data["gate"], *data["regularizers"]]
    for signal, found in data["signals"].items():
        assert f"signal {signal} on " in result.out
        shown += [found[part] for part in PARTS]
    for part in shown:
        assert any(part["name"] in line and part["summary"] in line for line in result.out.splitlines())


def test_settings_of_the_parts_are_shown(show: Show) -> None:
    gspo = show("gspo").out
    assert "eps_low = 0.0003, eps_high = 0.0004" in gspo
    assert 'signals = ["rl"]' in gspo
    luffy = show("luffy").out
    assert "with_demonstration = true, eps = 1e-06" in luffy
    assert "never selects" not in luffy
    assert "signal off on the demonstration, coefficient 1  (the gate never selects it)" in show("hpt").out


def test_set_changes_a_part(show: Show) -> None:
    changes = ("--set", "gate.gamma=0.25", "--set", "rl.stabilization_mask=none", "--set", "sft_coefficient=0.3")
    data = json.loads(show("hpt", *changes, "--json").out)
    assert data["gate"]["gamma"] == 0.25
    assert data["signals"]["rl"]["stabilization_mask"]["name"] == "none"
    assert data["signals"]["sft"]["coefficient"] == 0.3
    mixed = json.loads(show("hpt", "--set", 'gate.otherwise=["sft", "off"]', "--json").out)
    assert [signal["chosen"] for signal in mixed["signals"].values()] == [True, True, True]


def test_a_stage_of_a_pipeline(show: Show) -> None:
    config = str(CONFIGS / "qwen2.5-math-1.5b.toml")
    data = json.loads(show("train.hpt", "--config", config, "--json").out)
    assert data["name"] == "hpt"
    assert data["signals"]["sft"]["aggregation"]["name"] == "micro_batch_mean"
    assert [term["name"] for term in data["regularizers"]] == ["entropy"]
    changed = show("train.hpt", "--config", config, "--set", "train.hpt.algorithm.gate.gamma=0.125", "--json")
    assert json.loads(changed.out)["gate"]["gamma"] == 0.125


@pytest.mark.parametrize(
    ("arguments", "parts"),
    [
        (["grppo"], ["unknown name 'grppo'", "did you mean 'grpo'"]),
        (["dr-grpo"], ["did you mean 'dr_grpo'"]),
        (["hpt", "--set", "gate.gamma=3"], ["--set gate.gamma=3", "gate.gamma = 3", "less than or equal to 1"]),
        (["hpt", "--set", "gate.gama=0"], ["unknown field 'gate.gama'", "did you mean 'gamma'"]),
        (["hpt", "--set", "rl.advantage=group_men"], ["unknown name 'group_men'", "did you mean 'group_mean'"]),
        (["hpt", "--set", "gate"], ["not of the form a.b=c", "for example --set gate.gamma=0.25"]),
        (["train.hp", "--config", str(CONFIGS / "demo.toml")], ["no training stage 'train.hp'", "mean 'train.hpt'"]),
        (["train.hpt", "--config", "gone.toml"], ["there is no config gone.toml"]),
        ([], ["Missing argument 'NAME'"]),
    ],
)
def test_wrong_input_is_one_line_and_exit_code_2(show: Show, arguments: list[str], parts: list[str]) -> None:
    result = show(*arguments)
    assert result.code == 2
    assert result.out == ""
    for part in parts:
        assert part in result.err
    assert "--config" in arguments or "train." not in result.err
    assert result.err.count("error: ") <= 1
    assert "Traceback" not in result.err
