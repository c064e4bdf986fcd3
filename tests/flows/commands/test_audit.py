"""`hpt audit` over a real pipeline's store."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.hpt_core.rollout.test_endpoint import FakeEndpoint, endpoint

__all__ = ["endpoint"]

Outputs = Callable[[Path, str], list[Path]]


def test_graders_are_compared_over_the_stored_samples(finished: Any) -> None:
    found = json.loads(finished("audit", "tiny.toml", "--json").stdout)
    samples = json.loads(finished.look("samples", "tiny.toml", "--json", "--limit", "100").stdout)
    assert [(c["model"], c["benchmark"], c["samples"]) for c in found["counts"]] == [
        ("base", "procedural_double", 8),
        ("base", "procedural_mixed", 8),
    ]
    assert all(sum(c["passed_by"].values()) == c["samples"] for c in found["counts"])
    keys = {(s["question_id"], s["sample_index"]) for s in samples}
    assert {(d["question_id"], d["sample_index"]) for d in found["differences"]} <= keys
    one = finished("audit", "tiny.toml", "--benchmark", "procedural_double", "--model", "base")
    assert "Samples graded correct" in one.stdout
    assert "procedural_double" in one.stdout and "procedural_mixed" not in one.stdout
    assert "of 8 samples" in one.stderr


def test_differences_are_shown(again: Any) -> None:
    gold = json.loads(again.look("samples", "tiny.toml", "--json", "--limit", "1").stdout)[0]["gold"]
    # No string is its own with ".0" behind it; as a number it is.
    again.config.write_text(again.config.read_text().replace("boxed{3}", f"boxed{{{gold}.0}}"))
    again("evaluate", "tiny.toml")
    found = json.loads(again("audit", "tiny.toml", "--json", "--limit", "1").stdout)
    differences = found["differences"]
    assert len(differences) >= 2
    assert {(d["gold"], d["extracted"]) for d in differences} == {(gold, f"{gold}.0")}
    assert {(d["ours"], d["string"], d["math_verify"]) for d in differences} == {("correct", "incorrect", "correct")}
    assert sum(c["passed_by"]["ours+math_verify"] for c in found["counts"]) == len(differences)
    shown = again("audit", "tiny.toml", "--limit", "1")
    assert "Where they differ" in shown.stdout and differences[0]["question_id"] in shown.stdout
    assert f"graders disagree on {len(differences)} of 16 samples; --limit shows more than 1" in shown.stderr


def test_a_served_model_judges_too_and_changes_nothing(finished: Any, endpoint: FakeEndpoint) -> None:
    endpoint.answer = lambda body: {"choices": [{"text": "correct"}]}  # type: ignore[method-assign]
    judge = ("--judge", "tiny", "--judge-url", endpoint.url)
    found = json.loads(finished("audit", "tiny.toml", "--json", *judge).stdout)
    asked = len(endpoint.bodies)
    assert found["judge"] == {"model": "tiny", "url": endpoint.url, "server": "vllm 0.32.0", "prompt": "judge-1"}
    assert [c["judged"]["correct"] for c in found["counts"]] == [8, 8]
    assert {d["judge"] for d in found["differences"]} == {"correct"}
    shown = finished("audit", "tiny.toml", *judge)
    assert "Verdicts of the judge" in shown.stdout and "agrees with ours" in shown.stdout
    assert f"tiny at {endpoint.url}" in shown.stdout and "judge-1" in shown.stdout
    assert 0 < asked == len(endpoint.bodies), "the answers are remembered"
    alone = json.loads(finished("audit", "tiny.toml", "--json").stdout)
    assert alone["judge"] is None and {d["judge"] for d in alone["differences"]} <= {None}


def test_a_judge_that_cannot_be_asked_names_the_option(run_here: Callable[..., Any], endpoint: FakeEndpoint) -> None:
    wrong = run_here("audit", "tiny.toml", "--judge", "large", "--judge-url", endpoint.url)
    assert wrong.code == 1 and "does not serve 'large'. Remedy: set --judge to one of tiny" in wrong.err
    wrong = run_here("audit", "tiny.toml", "--judge", "tiny", "--judge-url", "nowhere")
    assert wrong.code == 2 and "--judge-url: url is not an http or https address" in wrong.err


def test_an_audit_without_samples_names_the_remedy(again: Any, outputs: Outputs) -> None:
    assert "did you mean 'procedural_" in again("audit", "tiny.toml", "--benchmark", "double", code=2).stderr
    for kind in ("samples", "verdicts", "report"):
        for folder in outputs(again.store, kind):
            shutil.rmtree(folder)
    assert "there are no samples yet. Remedy: run `hpt evaluate` first" in again("audit", "tiny.toml", code=1).stderr
