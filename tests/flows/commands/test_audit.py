"""`hpt audit` over a real pipeline's store."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

Outputs = Callable[[Path, str], list[Path]]


def test_graders_are_compared_over_the_stored_samples(finished: Any) -> None:
    found = json.loads(finished("audit", "tiny.toml", "--json").stdout)
    samples = json.loads(finished("samples", "tiny.toml", "--json", "--limit", "100").stdout)
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
    gold = json.loads(again("samples", "tiny.toml", "--json", "--limit", "1").stdout)[0]["gold"]
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


def test_an_audit_without_samples_names_the_remedy(again: Any, outputs: Outputs) -> None:
    assert "did you mean 'procedural_" in again("audit", "tiny.toml", "--benchmark", "double", code=2).stderr
    for kind in ("samples", "verdicts", "report"):
        for folder in outputs(again.store, kind):
            shutil.rmtree(folder)
    assert "there are no samples yet. Remedy: run `hpt evaluate` first" in again("audit", "tiny.toml", code=1).stderr
