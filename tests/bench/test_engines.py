"""Engines that wrap other engines."""

from pathlib import Path

import pytest

from bench.engines import Answering, Watched
from hpt_core.model_folder import load_tokenizer
from hpt_core.rollout.base import EngineConfig, Request, Sampling

SAMPLING = Sampling(max_tokens=3)


def test_answers_are_appended_to_responses_in_turn(tiny_model: Path) -> None:
    tokenizer = load_tokenizer(tiny_model)
    first, second = (tuple(tokenizer(text).input_ids) for text in ("1+1=", "2+2="))
    requests = [Request(prompt, seed) for prompt in (first, second) for seed in range(3)]
    plain = EngineConfig.from_value("transformers").open(tiny_model, 32, "float32", 0)
    expected = plain.generate(requests, SAMPLING)
    config = EngineConfig.from_value(
        {"name": "bench.engines:Answering", "engine": "transformers", "answers": {"1+1=": ("3", "2"), "2+2=": ("x",)}}
    )
    assert isinstance(config, Answering)
    engine = config.open(tiny_model, 32, "float32", 0)
    found = engine.generate(requests, SAMPLING)
    assert [rollout.token_ids for rollout in found] == [rollout.token_ids for rollout in expected]
    assert [rollout.text for rollout in found] == [
        f"{rollout.text}\n\n\\boxed{{{answer}}}"
        for rollout, answer in zip(expected, ("3", "2", "3", "x", "x", "x"), strict=True)
    ]
    # The next call begins anew.
    assert engine.generate(requests[:1], SAMPLING)[0].text.endswith("\\boxed{3}")
    with pytest.raises(KeyError, match=r"3\+3="):
        engine.generate([Request(tuple(tokenizer("3+3=").input_ids), 0)], SAMPLING)
    engine.close()


def test_the_engine_times_are_recorded(tiny_model: Path) -> None:
    config = Watched(engine=EngineConfig.from_value("transformers"))
    engine = config.open(tiny_model, 32, "float32", 0)
    assert engine.version.startswith("transformers ")
    engine.generate([Request((1, 2), 0)], SAMPLING)
    engine.close()
    assert config.times.keys() == {"starting", "generation", "cpu", "closing"}
    assert min(config.times.values()) >= 0
    assert config.times["generation"] > 0
