"""Our side of bench.speed.step: the training worker, one step at a time."""

import sys
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from bench._peers.environments import variables
from bench._peers.stepper import Side
from bench.speed import sums
from hpt_core.files import write_json
from hpt_core.model_folder import load_tokenizer


@pytest.mark.slow
def test_the_engine_fixes_length_and_answers_and_the_run_waits(tiny_model: Path, tmp_path: Path) -> None:
    tokens, rollouts = 24, 4
    tokenizer = load_tokenizer(tiny_model)
    made = sums.write(tmp_path / "prepared.parquet", tokenizer, 6)
    answers = {tokenizer.bos_token + sums.prompt(one): (f"{one.total}1", str(one.total)) for one in made}
    engine = {"name": "bench.engines:Endless", "kv_cache_gib": 0.25}
    config = {
        "algorithm": "grpo",
        "steps": 4,
        "questions_per_step": len(made),
        "rollouts_per_question": rollouts,
        "sampling": {"max_tokens": tokens},
        "truncated": "grade",  # every response has this length
        "engine": {"name": "bench.engines:Answering", "engine": engine, "answers": answers},
    }
    spec = {
        "config": config,
        "prompt": sums.PROMPT,
        "model": str(tiny_model),
        "data": str(tmp_path / "prepared.parquet"),
        "seed": 0,
        "threads": 1,
        "work": str(tmp_path / "work"),
        "output": str(tmp_path / "output"),
    }
    write_json(tmp_path / "spec.json", spec)
    command = [sys.executable, "-m", "bench.speed._step_ours", str(tmp_path / "spec.json")]
    with Side("ours", command, tmp_path / "log", variables()) as side:
        facts = [side.warm(), side.step()]
    assert side._process.poll() == 0
    for step, found in enumerate(facts, 1):
        assert found["step"] == step
        assert found["response_tokens"] == tokens
        assert found["reward"] == 0.5
        assert found["rollout_rows"] == len(made) * rollouts
        rows = pq.read_table(tmp_path / "work" / "rollouts" / f"step-{step:05d}.parquet").to_pylist()
        assert [row["outcome"] for row in rows] == ["incorrect", "correct"] * (len(rows) // 2)
        assert {len(row["token_ids"]) for row in rows} == {tokens}
    assert not (tmp_path / "output").exists()
