"""Protocols: what each says about each benchmark."""

import pytest

from benchmarks.protocols.base import ProtocolConfig, Settings
from benchmarks.protocols.paper import Paper
from benchmarks.suite import get_suite, suite_names
from hpt_core.prompts.chat import ChatTemplate
from hpt_core.prompts.plain import PlainText
from hpt_core.rollout.base import Sampling
from hpt_core.verifiers.math_verify import MathVerify

SYSTEM = "Please reason step by step, and put your final answer within \\boxed{}."


@pytest.mark.parametrize("protocol", ProtocolConfig.plugin_kind.names)
@pytest.mark.parametrize("name", suite_names())
def test_every_protocol_measures_every_benchmark(protocol: str, name: str) -> None:
    found: ProtocolConfig = ProtocolConfig.from_value(protocol)
    assert found.settings(get_suite(name), PlainText(), 1).k >= 1
    assert set(found.benchmarks) <= set(suite_names())
    assert found.title == protocol


@pytest.mark.parametrize("name", suite_names())
def test_the_default_protocol_is_the_benchmarks_own(name: str) -> None:
    suite, prompt = get_suite(name), PlainText(template="{question}!")
    found = ProtocolConfig.from_value("benchmark").settings(suite, prompt, 7)
    assert (found.prompt, found.seed, found.seeds) == (prompt, 7, "derived")
    assert (found.instruction, found.sampling, found.k) == (suite.instruction, suite.sampling, suite.k)
    assert (found.max_total_tokens, found.dtype, found.graders) == (None, None, ())


@pytest.mark.parametrize(
    ("name", "k"),
    [
        *((name, 32) for name in ("aime24", "aime25", "amc")),
        *((name, 1) for name in ("math500", "minerva", "olympiadbench", "arc_challenge", "gpqa_diamond", "amc23")),
    ],
)
def test_the_papers_protocol_is_that_of_its_authors(name: str, k: int) -> None:
    found = Paper().settings(get_suite(name), PlainText(), 7)
    assert found.k == k
    assert found.sampling == Sampling(temperature=0.6, top_p=0.95, max_tokens=8192)
    assert found.max_total_tokens == 8192
    assert found.prompt == ChatTemplate(system=SYSTEM, instruction="")
    assert found.instruction is None
    assert (found.seed, found.seeds, found.dtype) == (42, "counted", "bfloat16")
    # Math-Verify does not grade multiple choice.
    assert found.graders == (() if name in ("arc_challenge", "gpqa_diamond") else (MathVerify(),))


def test_the_papers_amc_has_83_questions() -> None:
    assert "amc" in Paper().benchmarks and "amc23" not in Paper().benchmarks
    assert get_suite("amc").rows == 83


def test_a_changed_field_is_part_of_the_title() -> None:
    assert Paper(k=4).title == 'paper with {"k": 4}'


def test_a_grader_occurs_once() -> None:
    settings = Paper().settings(get_suite("aime24"), PlainText(), 7)
    with pytest.raises(ValueError, match="the grader 'math_verify' occurs twice; name each grader once"):
        Settings.model_validate({**dict(settings), "graders": (MathVerify(), MathVerify())})
