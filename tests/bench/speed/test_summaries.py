"""Summaries of single measurements, and their tables."""

import pytest

from bench.records import Record
from bench.speed import evaluation, grading, step


def test_a_step_against_trl() -> None:
    rows = [
        {
            "ours_seconds": 10.0 * pair, "trl_seconds": 25.0, "ratio": 2.5 / pair, "ours_tree_gib": 7.0 + pair,
            "trl_tree_gib": 9.0, "ours_seconds_rollout": 4.0, "ours_seconds_update": 5.0, "ours_seconds_sync": 0.1,
            "ours_seconds_verify": 0.0, "trl_seconds_rollout": 9.0,
        }
        for pair in (1, 2, 1)
    ]  # fmt: skip
    found = step.summary(rows)
    assert (found["ratio"], found["ratio_least"], found["ratio_largest"], found["pairs"]) == (2.5, 1.25, 2.5, 3)
    assert (found["ours_gib"], found["sync_share"], found["verify_share"]) == (9.0, 0.01, 0.0)
    table = step.table(Record("step", {}, {}, found))
    assert "2.50, median of 3 pairs; 1.25 to 2.50 (median 25.0 s / 10.0 s)" in table
    assert "| under 2 % | 1.0 % |" in table


def test_evaluation_compares_within_a_round_and_per_token() -> None:
    rows = [
        {"round": 1, "contestant": "bare", "evaluation": 10.0, "tokens": 100, "cpu": 8.0},
        {"round": 1, "contestant": "ours", "evaluation": 12.0, "sampling": 9.0, "tokens": 100, "cpu": 8.8},
        {"round": 2, "contestant": "bare", "evaluation": 20.0, "tokens": 100, "cpu": 8.0},
        {"round": 2, "contestant": "ours", "evaluation": 24.0, "sampling": 11.0, "tokens": 50, "cpu": 8.8},
        {"round": 2, "contestant": "lm-eval", "evaluation": 36.0, "tokens": 50, "cpu": 9.0},
    ]
    found = evaluation.summary(rows)
    assert found["ratios"]["bare"] == pytest.approx([0.9, 1.1])
    assert found["ratios"]["bare_cpu"] == pytest.approx([1.1, 2.2])
    assert found["ratios"]["lm-eval"] == [1.5]
    assert found["ratios"]["lighteval-served"] == []
    assert found["seconds"] == {"bare": 15.0, "ours": 18.0, "lm-eval": 36.0}
    table = evaluation.table(Record("evaluation", {}, {}, found))
    assert "| at most 1.03 | 0.90, 1.10 |" in table
    assert "bare 15, ours 18, lm-eval 36" in table


def test_grading_compares_within_a_round() -> None:
    rows = [
        {"way": way, "round": number, "answers": 100, "seconds": seconds * (1 + number), "passed_wrong": 0.0}
        for number in range(3)
        for way, seconds in zip(grading.WAYS, (1.0, 7.0, 6.0), strict=True)
    ]
    found = grading.summarize(rows, 3)
    assert found["answers"] == 100
    assert found["ours"]["per_second"] == 50
    assert (found["math-verify"]["ratio"], found["math-verify"]["range"]) == (7.0, "7.0 to 7.0")
    assert found["math-verify, gold cached"]["passed_wrong"] == 0.0
