"""`hpt estimate`: a pilot whose samples the evaluation keeps."""

import json

import pytest


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
