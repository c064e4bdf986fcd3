"""`hpt protocol`: how a config measures, and how that differs from another protocol."""

import json
from pathlib import Path
from typing import Any

import pytest

CONFIG = """
name = "tiny"
[model.base]
source = { name = "scratch", layers = 1, hidden_size = 32, intermediate_size = 32, heads = 1 }
[evaluate]
models = ["model.base"]
suites = ["aime24", "amc23", "gpqa_diamond"]
"""


@pytest.fixture
def config(tmp_path: Path) -> str:
    (tmp_path / "tiny.toml").write_text(CONFIG)
    return "tiny.toml"


def test_settings_are_shown_once_for_all_benchmarks(run_here: Any, config: str) -> None:
    result = run_here("protocol", config, "--set", "evaluate.protocol=paper", "--set", "evaluate.top_k=20")
    assert (result.code, result.err) == (0, "")
    assert result.out.splitlines() == [
        "protocol paper",
        "  k = 32 (aime24)",
        "  temperature 0.6, top_p 0.95, max_tokens 8192, top_k 20",
        "  at most 8192 tokens with the prompt",
        "  seeds counted from 42",
        "  precision bfloat16",
        "  also graded by math_verify (aime24, amc23)",
        '  prompt {"name":"chat","system":"Please reason step by step, and put your final answer within \\\\boxed{}.",'
        '"instruction":"","date":"2024-07-26"}',
        "  k = 1 (amc23, gpqa_diamond)",
        "  not a benchmark of the protocol (amc23)",
        "",
        "differences from paper",
        "  top_k 20 instead of 0",
    ]


def test_differences_from_another_protocol_are_listed(run_here: Any, config: str) -> None:
    result = run_here("protocol", config, "--against", "paper")
    found = result.out.split("differences from paper\n")[1].splitlines()
    assert found == [
        "  no limit on prompt and response together instead of 8192 tokens with the prompt",
        "  derived seeds instead of seeds counted from 42",
        "  another prompt",
        "  further graders: none instead of math_verify (aime24, amc23)",
        "  not a benchmark of the protocol paper (amc23)",
        "  k = 32 instead of 1 (amc23)",
    ]
    assert "differences from benchmark: none" in run_here("protocol", config).out
    shown = json.loads(run_here("protocol", config, "--against", "paper", "--json").out)
    assert (shown["protocol"], shown["against"]) == ("benchmark", "paper")
    assert "another prompt" in shown["differences"]["gpqa_diamond"]
    assert shown["used"]["aime24"]["k"] == 32


def test_what_no_protocol_says_is_listed_too(run_here: Any, config: str) -> None:
    changes = ("--set", "evaluate.limit=30", "--set", "evaluate.generation_config=true", "--set", "evaluate.top_p=0.9")
    result = run_here("protocol", config, *changes)
    own = "temperature, top_k, min_p, repetition_penalty of the model's generation_config.json, if it has them"
    used, differences = result.out.split("differences from benchmark\n")
    assert "  30 of 40 questions (amc23)\n" in used and f"  {own}\n" in used
    assert "  30 of 40 questions (amc23)\n" in differences and f"  {own}\n" in differences
    assert "of 30 questions" not in result.out  # the limit leaves AIME whole
    shown = json.loads(run_here("protocol", config, *changes, "--json").out)
    assert shown["used"]["amc23"]["beside"] == ["30 of 40 questions", own]


def test_wrong_input_is_named(run_here: Any, config: str, tmp_path: Path) -> None:
    result = run_here("protocol", config, "--against", "papr")
    assert result.code == 2 and "did you mean 'paper'" in result.err
    (tmp_path / "none.toml").write_text(CONFIG.split("[evaluate]")[0])
    result = run_here("protocol", "none.toml")
    assert result.code == 2 and "the config evaluates nothing" in result.err
