"""Every sampling option: its neutral default, and what each engine does with it."""

import json
import logging
import math
from pathlib import Path
from typing import Any, ClassVar

import pytest
import torch
from pydantic import ValidationError

from hpt_core.errors import ConfigError, EngineError
from hpt_core.model_folder import load_tokenizer
from hpt_core.rollout._wire import Wire
from hpt_core.rollout.base import Decoder, EngineConfig, Request, RolloutEngine, Sampling, StopRepetition
from hpt_core.rollout.scripted import Scripted
from hpt_core.rollout.transformers import Transformers, distribution_of
from hpt_core.rollout.vllm import VLLM

OPTIONS: dict[str, Any] = {
    "temperature": 0.5,
    "top_p": 0.5,
    "max_tokens": 5,
    "stop_repetition": StopRepetition(),
    "top_k": 2,
    "min_p": 0.5,
    "presence_penalty": 1.0,
    "frequency_penalty": 0.5,
    "repetition_penalty": 2.0,
    "stop": ("b", "yz"),
}
"""A value of every option that has an effect."""
LOGITS = torch.tensor([3.0, 2.0, 1.0, -1.0])
REQUESTS = [Request((1, 40 + i % 5), seed=i) for i in range(12)]


class Elsewhere(EngineConfig):
    """An engine from before these options."""


def test_the_cases_cover_every_option() -> None:
    assert set(OPTIONS) == set(Sampling.model_fields)


def test_options_without_effect_are_left_out_of_dumps() -> None:
    assert Sampling().model_dump(mode="json") == {"temperature": 1.0, "top_p": 1.0, "max_tokens": 8192}
    assert Sampling(**OPTIONS).options == OPTIONS
    assert json.loads(Sampling(**OPTIONS).model_dump_json())["stop"] == ["b", "yz"]


@pytest.mark.parametrize("engine", EngineConfig.plugin_kind.names)
@pytest.mark.parametrize("name", OPTIONS)
def test_shipped_engines_honor_every_option(engine: str, name: str) -> None:
    EngineConfig.from_value(engine).require(Sampling(**{name: OPTIONS[name]}))


@pytest.mark.parametrize("name", sorted(set(OPTIONS) - EngineConfig.HONORS))
def test_an_engine_that_does_not_know_an_option_refuses_it(name: str) -> None:
    with pytest.raises(ConfigError, match=f"does not honor {name}.*remove it"):
        Elsewhere().require(Sampling(**{name: OPTIONS[name]}))
    Elsewhere().require(Sampling(temperature=0.5, top_p=0.5, max_tokens=5))


@pytest.mark.parametrize(
    ("name", "value"),
    [
        *(("top_k", -1), ("min_p", 1.5), ("min_p", -0.1), ("presence_penalty", 3), ("frequency_penalty", -3)),
        *(("repetition_penalty", 0), ("stop", ("",)), ("temperature", math.inf), ("temperature", math.nan)),
    ],
)
def test_wrong_values_are_refused(name: str, value: Any) -> None:
    with pytest.raises(ValidationError, match=name):
        Sampling(**{name: value})


@pytest.mark.parametrize(
    ("options", "prompt", "response", "expected"),
    [
        ({}, (), (), LOGITS),
        ({"temperature": 0.5}, (), (), LOGITS * 2),
        ({"top_k": 2}, (), (), torch.tensor([3.0, 2.0, -math.inf, -math.inf])),
        ({"top_k": 9}, (), (), LOGITS),
        # The second token has a share of exp(-1) = 0.37 of the first one's probability, the third 0.14.
        ({"min_p": 0.3}, (), (), torch.tensor([3.0, 2.0, -math.inf, -math.inf])),
        # With temperature 0.5 the distances are twice as large.
        ({"min_p": 0.3, "temperature": 0.5}, (), (), torch.tensor([3.0, -math.inf, -math.inf, -math.inf])),
        ({"presence_penalty": 1.0}, (0,), (1, 1), torch.tensor([3.0, 1.0, 1.0, -1.0])),
        ({"frequency_penalty": 1.0}, (0,), (1, 1), torch.tensor([3.0, 0.0, 1.0, -1.0])),
        ({"repetition_penalty": 2.0}, (0,), (3,), torch.tensor([1.5, 2.0, 1.0, -2.0])),
        ({"temperature": 0, "repetition_penalty": 2.0}, (0,), (), torch.tensor([-math.inf, 0.0, -math.inf, -math.inf])),
    ],
)
def test_the_distribution_by_hand(
    options: dict[str, Any], prompt: tuple[int, ...], response: tuple[int, ...], expected: torch.Tensor
) -> None:
    found = distribution_of(LOGITS, Sampling(**options), prompt, response)
    torch.testing.assert_close(found.exp(), expected.softmax(-1))


def respond(engine: RolloutEngine, **options: Any) -> list[str]:
    return [rollout.text for rollout in engine.generate(REQUESTS, Sampling(**{"max_tokens": 24, **options}))]


def check_stops(engine: RolloutEngine) -> None:
    """A stop text ends a response, its text ends before it, and its tokens include it."""
    free = engine.generate(REQUESTS, Sampling(max_tokens=24))
    stop = next(c for r in free for c in r.text[2:] if c.isascii() and c.isprintable())
    for before, after in zip(free, engine.generate(REQUESTS, Sampling(max_tokens=24, stop=(stop,))), strict=True):
        assert after.text == before.text.partition(stop)[0]
        if stop in before.text:
            assert after.finish_reason == "stop"
            assert after.token_ids == before.token_ids[: len(after.token_ids)]
            assert len(after.logprobs) == len(after.token_ids)


def check_options(engine: RolloutEngine) -> None:
    greedy = respond(engine, temperature=0)
    assert respond(engine, top_k=1) == greedy
    assert respond(engine, min_p=1.0) == greedy
    free = respond(engine)
    for options in ({"repetition_penalty": 1.8}, {"frequency_penalty": 2.0}, {"presence_penalty": 2.0}):
        assert respond(engine, **options) != free, options
        # Penalties change the greedy response too.
        assert respond(engine, temperature=0, **options) != greedy, options
    assert respond(engine, stop=("never in any text",)) == free


@pytest.mark.slow
def test_transformers_honors_every_option(tiny_model: Path) -> None:
    engine = Transformers().open(tiny_model, 128, "float32", 0)
    check_options(engine)
    check_stops(engine)


def test_vllm_honors_every_option(vllm_engine: RolloutEngine, tiny_model: Path) -> None:
    check_options(vllm_engine)
    check_stops(vllm_engine)
    # Greedy responses do not depend on a random generator, so both engines give the same.
    other = Transformers().open(tiny_model, 128, "float32", 0)
    for options in ({"repetition_penalty": 1.8}, {"frequency_penalty": 2.0}, {"presence_penalty": 2.0}):
        assert respond(vllm_engine, temperature=0, **options) == respond(other, temperature=0, **options), options


def test_a_special_token_stops_a_response(tiny_model: Path) -> None:
    tokenizer = load_tokenizer(tiny_model)
    sampling = Sampling(stop=("<bos>", "x"))
    assert sampling.stop_ids(tokenizer) == [tokenizer.bos_token_id]
    engine = Scripted(otherwise="a<bos>b").open(tiny_model, 64, "float32", 0)
    (rollout,) = engine.generate(REQUESTS[:1], sampling)
    assert (rollout.text, rollout.finish_reason) == ("a", "stop")
    assert rollout.token_ids[-1] == tokenizer.bos_token_id


def test_scripted_ends_as_asked_and_names_what_it_ignores(tiny_model: Path, caplog: pytest.LogCaptureFixture) -> None:
    engine = Scripted(otherwise="ab\n\ncd").open(tiny_model, 64, "float32", 0)
    with caplog.at_level(logging.INFO, "hpt.rollout"):
        rollouts = engine.generate(REQUESTS[:3], Sampling(temperature=0.6, top_k=3, stop=("\n\n",)))
    assert {(r.text, r.finish_reason) for r in rollouts} == {("ab", "stop")}
    assert [record.getMessage() for record in caplog.records] == [
        "scripted responses are fixed, so these options have no effect: temperature 0.6, top_k 3"
    ]


class Tokenizer:
    """What the wire needs of a tokenizer."""

    eos_token_id = 2
    added_tokens_decoder: ClassVar[dict[int, Any]] = {}

    def get_added_vocab(self) -> dict[str, int]:
        return {"<|im_end|>": 7}


def wire(vllm: bool) -> Wire:
    return Wire("m", vllm, "endpoint", Tokenizer())


def test_the_wire_sends_every_option_by_name() -> None:
    body = wire(True).body(REQUESTS[0], Sampling(**OPTIONS))
    for name in ("temperature", "top_p", "max_tokens", "top_k", "min_p"):
        assert body[name] == OPTIONS[name]
    for name in ("presence_penalty", "frequency_penalty", "repetition_penalty"):
        assert body[name] == OPTIONS[name]
    assert body["stop"] == ["b", "yz"] and "stop_token_ids" not in body
    assert wire(True).body(REQUESTS[0], Sampling(stop=("<|im_end|>",)))["stop_token_ids"] == [7]


@pytest.mark.parametrize("name", ["top_k", "min_p", "repetition_penalty", "stop_repetition"])
def test_another_server_is_not_trusted_with_options_of_vllm(name: str) -> None:
    with pytest.raises(EngineError, match=f"not a vLLM server and does not support {name}.*remove {name}"):
        wire(False).body(REQUESTS[0], Sampling(**{name: OPTIONS[name]}))
    with pytest.raises(EngineError, match="special tokens in stop"):
        wire(False).body(REQUESTS[0], Sampling(stop=("<|im_end|>",)))


@pytest.mark.parametrize(
    "name", ["temperature", "top_p", "max_tokens", "presence_penalty", "frequency_penalty", "stop"]
)
def test_another_server_takes_the_options_of_the_api(name: str) -> None:
    assert name in wire(False).body(REQUESTS[0], Sampling(**{name: OPTIONS[name]}))


def test_a_servers_text_ends_before_the_stop_text() -> None:
    answer = {"text": "so b and more", "finish_reason": "stop", "usage": {}}
    wired = Wire("m", False, "endpoint", load_tokenizer_of_bytes())
    assert wired.rollout(REQUESTS[0], Sampling(stop=("b",)), answer).text == "so "


def load_tokenizer_of_bytes() -> Any:
    from hpt_core.models.scratch import byte_tokenizer

    return byte_tokenizer(256)


def test_a_server_that_we_start_takes_no_length_from_the_model() -> None:
    from hpt_core.rollout._serve import serve_arguments

    found = serve_arguments(VLLM(), Path("m"), 64, "float32", 0, on_gpu=False)
    assert found[found.index("--generation-config") + 1] == "vllm"


@pytest.mark.parametrize("special", [True, False])
def test_marks_of_the_thinking_are_kept_even_as_special_tokens(special: bool) -> None:
    from tokenizers import AddedToken

    tokenizer = load_tokenizer_of_bytes()
    tokenizer.add_tokens([AddedToken(tag, special=special) for tag in ("<think>", "</think>")])
    ids = tokenizer("<think>a</think>b<eos>", add_special_tokens=False).input_ids
    assert tokenizer.eos_token_id in ids
    assert Decoder(tokenizer)(ids) == "<think>a</think>b"
