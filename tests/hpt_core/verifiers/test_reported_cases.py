"""Answers that graders have judged wrongly, beside a checkout of the shared data."""

import json
from pathlib import Path

import pytest

from hpt_core.verifiers import get


def test_reported_cases_are_judged_correctly(shared_data: Path) -> None:
    path = shared_data.parent / "cases" / "grading.jsonl"
    if not path.exists():
        pytest.skip(f"needs {path}")
    cases = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    assert cases
    wrong = [
        (case["id"], str(verdict.outcome))
        for case in cases
        if (verdict := get(case["kind"]).verify(case["gold"], case["response"])).outcome != case["expected"]
    ]
    assert wrong == []
