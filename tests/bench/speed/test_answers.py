"""Responses made for measuring graders' speed."""

import json
from pathlib import Path

import pytest

from bench.speed import _grading, answers


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """Benchmarks of a few invented gold answers."""
    (tmp_path / "benchmarks").mkdir()
    for number, name in enumerate(answers.BENCHMARKS):
        rows = [{"answer": str(10 * number + i)} for i in range(3)] + [{"answer": "\\frac{1}{2}"}]
        (tmp_path / "benchmarks" / f"{name}.json").write_text(json.dumps(rows))
    return tmp_path


def test_distinct_answers_occur_once(data: Path) -> None:
    pairs = answers.distinct(data, None, 2, seed=0)
    assert len({(pair.gold, pair.response.split("the answer is")[-1]) for pair in pairs}) == len(pairs)
    assert {pair.made for pair in pairs} == {"right", "otherwise", "wrong"}
    assert answers.distinct(data, None, 2, seed=0) == pairs
    assert len(answers.distinct(data, 5, 2, seed=0)) <= 15


def test_repeats_contain_few_answers_many_times(data: Path) -> None:
    pairs = answers.repeats(data, 2, 1, seed=0)
    assert len(pairs) == 2 * answers.SAMPLES
    assert len({(pair.gold, pair.response.split("the answer is")[-1]) for pair in pairs}) <= 2 * 5


@pytest.mark.parametrize("way", ["ours", "math-verify", "math-verify, gold cached"])
def test_both_graders_accept_only_correct_answers(data: Path, way: str) -> None:
    found = _grading.measure("distinct", way, seed=0, data=str(data), golds=6, sentences=1, workers=1)
    assert found["passed_right"] == 1.0
    assert found["passed_wrong"] == 0.0
    assert found["seconds"] > 0
