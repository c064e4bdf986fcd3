"""The scripted engine."""

from pathlib import Path

from hpt_core.model_folder import load_tokenizer
from hpt_core.rollout.base import Request, Sampling
from hpt_core.rollout.scripted import Scripted
from hpt_core.training.batch import Tokens
from hpt_core.training.model import load_model
from hpt_core.training.policy import make_policy
from hpt_core.training.sync import measure


def test_plays_its_script_with_the_models_logprobs(tiny_model: Path) -> None:
    tokenizer = load_tokenizer(tiny_model)
    config = Scripted(responses={"1+1": ("\\boxed{2}", "three")}, otherwise="pass")
    engine = config.open(tiny_model, max_model_len=64, dtype="float32", seed=0)
    known, other = tuple(tokenizer("what is 1+1").input_ids), tuple(tokenizer("2+2").input_ids)
    requests = [Request(known, 0), Request(known, 1), Request(other, 0)]
    rollouts = engine.generate(requests, Sampling(max_tokens=20))
    assert [r.text for r in rollouts] == ["\\boxed{2}", "three", "pass"]
    assert {r.finish_reason for r in rollouts} == {"stop"}
    rows = [Tokens(q.prompt_ids, r.token_ids, 1.0, r.logprobs) for q, r in zip(requests, rollouts, strict=True)]
    assert measure(make_policy(load_model(tiny_model), "float32"), rows, 1000).largest < 1e-5
    assert engine.generate(requests[:1], Sampling(max_tokens=3))[0].finish_reason == "length"


def test_without_logprobs_the_script_needs_no_weights(tiny_model: Path, tmp_path: Path) -> None:
    for file in tiny_model.iterdir():
        if file.suffix != ".safetensors":
            (tmp_path / file.name).write_bytes(file.read_bytes())
    engines = [
        Scripted(otherwise="\\boxed{2}").open(folder, 64, "float32", 0, logprobs=logprobs)
        for folder, logprobs in ((tiny_model, True), (tmp_path, False))
    ]
    request = Request(tuple(load_tokenizer(tiny_model)("1+1").input_ids), 0)
    ((full,), (bare,)) = (engine.generate([request], Sampling(max_tokens=20)) for engine in engines)
    assert len(full.logprobs) == len(full.token_ids) and bare.logprobs == ()
    assert (bare.token_ids, bare.text, bare.finish_reason) == (full.token_ids, full.text, full.finish_reason)
    assert engines[0].version == engines[1].version
