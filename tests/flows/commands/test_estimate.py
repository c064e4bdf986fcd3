"""`hpt estimate`: a pilot whose samples the evaluation keeps."""

import json

import pytest

from flows.cli import main


def test_a_pilot_is_estimated_and_its_samples_are_kept(again):
    unsampled = (str(again.config), "--set", "evaluate.seed=11")
    before = set(again.store.glob("samples/*/log.txt"))
    prices = ("--set", "evaluate.budget.prices.million_tokens=1000.0")
    (found,) = json.loads(again("estimate", *unsampled, "--questions", "2", "--json", *prices).stdout)
    assert found["model"] == "model.base"
    double, mixed = found["benchmarks"]
    assert (double["benchmark"], mixed["benchmark"]) == ("procedural_double", "procedural_mixed")
    for unit in (double, mixed):
        assert (unit["samples"], unit["missing"], unit["questions"]) == (8, 4, 2)
        assert unit["margin_tokens"] == 0  # the script says the same every time
    assert found["tokens"] == found["tokens_low"] == found["tokens_high"] == 8 * double["mean_tokens"]
    assert found["cost"] == pytest.approx(found["tokens"] / 1000)
    assert found["seconds"] > 0
    table = again("estimate", *unsampled, "--questions", "2").stdout
    assert "samples left" in table
    assert "95 % interval" in table
    samples = json.loads(again.look("samples", *unsampled, "--json", "--limit", "100").stdout)
    assert len(samples) == 8
    assert {sample["outcome"] for sample in samples} == {None}
    again("evaluate", *unsampled)
    logs = [path.read_text() for path in set(again.store.glob("samples/*/log.txt")) - before]
    assert any("8 of 16 samples are there already" in log for log in logs)
    assert "all samples exist already" in again("estimate", *unsampled).stdout


def test_an_impossible_estimate_names_the_cause(fresh):
    fresh.train_too()
    assert "train.sft is not trained yet" in fresh("estimate", str(fresh.config), "sft", code=1).stderr
    assert "did you mean" in fresh("estimate", str(fresh.config), "bse", code=2).stderr.lower()


def test_gpu_hours_are_what_the_arithmetic_says(tmp_path, capsys):
    config = tmp_path / "c.toml"
    config.write_text(
        """
name = "c"

[model.base]
source = { name = "hub", repo = "some/model" }

[data.d]
source = { name = "procedural", rows = 64, seed = 1 }
model = "model.base"

[train.grpo]
from = "model.base"
data = "data.d"
algorithm = "grpo"
steps = 10
questions_per_step = 4
rollouts_per_question = 5

[evaluate]
models = ["train.grpo"]
suites = ["math500"]
"""
    )
    command = ["estimate", str(config), "--gpu-hours", "--json", "--store", str(tmp_path / "runs")]
    with pytest.raises(SystemExit, match=r"[1-9]"):
        main(command)
    assert "give it: --parameters" in capsys.readouterr().err
    options = "--parameters 1e9 --response-tokens 100 --prompt-tokens 10 --peak-tflops 1 --training 0.5 --decoding 0.1"
    with pytest.raises(SystemExit, match="0"):
        main([*command, *options.split()])
    train, evaluate = json.loads(capsys.readouterr().out)
    assert (train["stage"], train["generated_tokens"], train["trained_tokens"]) == ("train.grpo", 20_000, 20_000)
    # Training: one forward pass and a backward one that costs two, with two operations for each parameter and token.
    seconds = 6e9 * 20_400 / 0.5e12 + 2e9 * 22_000 / 0.1e12
    assert train["gpu_hours"] == pytest.approx(seconds / 3600)
    assert evaluate["generated_tokens"] == 500 * 100
